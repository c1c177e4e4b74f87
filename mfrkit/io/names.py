"""Names of pictures: which files are taken for one, and the key each goes by."""

import os
import re

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".avif"}
)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture.

    Example:
        >>> is_picture("a.JPG"), is_picture("a.txt")
        (True, False)
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def strip_suffix(name: str) -> str:
    """Drop an image suffix, and nothing else, from a name: the key of that picture.

    Example:
        >>> strip_suffix("J.Lo/J.Lo_0001.jpg"), strip_suffix("J.Lo")
        ('J.Lo/J.Lo_0001', 'J.Lo')
    """
    return os.path.splitext(name)[0] if is_picture(name) else name


def expand_braces(pattern: str) -> list[str]:
    """Return the names a pattern stands for, as shells expand it.

    Args:
        pattern: with `{first..last}`, numbers of one width, or `{one,other}`, any number of times.

    Example:
        >>> expand_braces("train-{08..10}.tar"), expand_braces("{a,b}.tar")
        (['train-08.tar', 'train-09.tar', 'train-10.tar'], ['a.tar', 'b.tar'])
    """
    match = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if match is None:
        return [pattern]
    first, last, words = match.groups()
    if words is None:
        numbers = range(int(first), int(last) + 1)
        parts = [str(number).zfill(len(first)) for number in numbers]
    else:
        parts = words.split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [before + part + rest for part in parts for rest in expand_braces(after)]
