"""Names of pictures: which files are taken for one, and the key each goes by."""

import os

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
