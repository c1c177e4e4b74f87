"""Names of pictures: which files are taken for one, and the key each goes by."""

import os
import re
import unicodedata
from hashlib import blake2b
from pathlib import PurePosixPath

_LONG = 100  # bytes; file systems allow 255, some 143
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pnm", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf"}
)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture.

    Example:
        >>> is_picture("a.JPG"), is_picture("a.txt")
        (True, False)
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def key_of(name: str) -> str:
    """Return the key of a picture: its name without an image suffix, and without any other change.

    Example:
        >>> key_of("J.Lo/J.Lo_0001.jpg"), key_of("J.Lo")
        ('J.Lo/J.Lo_0001', 'J.Lo')
    """
    return canonical(os.path.splitext(name)[0] if is_picture(name) else name)


def canonical(key: str) -> str:
    """Return the one spelling of a key: accents composed, no empty parts, no `.` among them.

    Example:
        >>> canonical("./Jose\u0301//1") == "Jos\u00e9/1"
        True
    """
    spelled = str(PurePosixPath(composed(key)))
    return "" if spelled == "." else spelled


def composed(text: str) -> str:
    """Return text with its accents composed (NFC): some systems write names in pieces."""
    return unicodedata.normalize("NFC", text)


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


def hidden_name(name: str, ending: str) -> str:
    """Return a hidden name made of a file's name, short even where that one is not.

    Example:
        >>> hidden_name("a.png", ".part"), hidden_name("x" * 250, ".part")
        ('.a.png.part', '.8a2490d09258a25348b097204a9d43e8.part')
    """
    content = os.fsencode(name)
    short = name if len(content) <= _LONG else blake2b(content, digest_size=16).hexdigest()
    return f".{short}{ending}"
