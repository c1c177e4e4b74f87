"""Names of pictures: which files are taken for one, and the key each goes by."""

import os
import re
import unicodedata
from hashlib import blake2b
from itertools import product
from pathlib import PurePosixPath

from mfrkit.errors import InputError

_LONG = 100  # bytes; file systems allow 255, some 143
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pnm", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf"}
)
_BRACES = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}")
_MOST_NAMES = 1_000_000
CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp"}
    | {".wmv", ".ogv", ".flv"}
)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture.

    Example:
        >>> is_picture("a.JPG"), is_picture("a.txt")
        (True, False)
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_clip(name: str) -> bool:
    """Whether a file's name is that of a video clip."""
    return os.path.splitext(name)[1].lower() in CLIP_SUFFIXES


def clip_key(name: str) -> str:
    """Return what the keys of a clip's frames begin with.

    Example:
        >>> clip_key("hall/door.MP4")
        'hall/door'
    """
    return canonical(os.path.splitext(name)[0])


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

    Raises:
        InputError: it stands for more names than any data set has files.

    Example:
        >>> expand_braces("train-{08..10}.tar"), expand_braces("{a,b}.tar")
        (['train-08.tar', 'train-09.tar', 'train-10.tar'], ['a.tar', 'b.tar'])
    """
    parts: list[list[str]] = []
    count, end = 1, 0
    for match in _BRACES.finditer(pattern):
        first, last, words = match.groups()
        count *= words.count(",") + 1 if words else max(0, int(last) - int(first) + 1)
        if count > _MOST_NAMES:
            raise InputError(f"{pattern}: stands for more than {_MOST_NAMES} names")
        numbers = range(int(first), int(last) + 1) if first else range(0)
        parts.append([pattern[end : match.start()]])
        parts.append(words.split(",") if words else [str(n).zfill(len(first)) for n in numbers])
        end = match.end()
    return ["".join(name) for name in product(*parts, [pattern[end:]])]


def hidden_name(name: str, ending: str) -> str:
    """Return a hidden name made of a file's name, short even where that one is not.

    Example:
        >>> hidden_name("a.png", ".part"), hidden_name("x" * 250, ".part")
        ('.a.png.part', '.8a2490d09258a25348b097204a9d43e8.part')
    """
    content = os.fsencode(name)
    short = name if len(content) <= _LONG else blake2b(content, digest_size=16).hexdigest()
    return f".{short}{ending}"
