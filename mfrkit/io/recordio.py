"""RecordIO: many records in one `.rec` file, their places in a text file `.idx` beside it.

Source:
    dmlc-core, `include/dmlc/recordio.h`, for records; MXNet, `python/mxnet/recordio.py`, for what
    stands before a picture in one. InsightFace's training sets are such files.

A record is the magic word, a word with three bits of flag and 29 of length, the payload, and zeros
up to a multiple of four bytes. Where the magic word stands in the payload at such a multiple, it is
left out and the payload goes on in a further part: flag 0 is a whole record, 1, 2 and 3 are first,
middle and last parts. All numbers are little-endian.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from mfrkit.errors import ImageError

MAGIC = 0xCED7230A
WHOLE, FIRST, MIDDLE, LAST = range(4)
LENGTH_BITS = 29
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size
_ENTRY = struct.Struct("<IfQQ")  # number of labels (0: one, in the next field), label, id, id2


def pack_record(payload: bytes) -> bytes:
    """Return the bytes of a record.

    Example:
        >>> pack_record(b"abc").hex(" ", 4)
        '0a23d7ce 03000000 61626300'
    """
    cuts = [m.start() for m in re.finditer(re.escape(_MAGIC_BYTES), payload) if not m.start() % 4]
    starts, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)]
    parts = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        last = number == len(cuts)
        flag = (LAST if last else MIDDLE) if number else (WHOLE if last else FIRST)
        parts += [_HEAD.pack(MAGIC, flag << LENGTH_BITS | end - start), payload[start:end]]
    return b"".join(parts) + bytes(-len(payload) % 4)


def unpack_record(content: bytes) -> bytes:
    """Return the payload of a record.

    Args:
        content: its bytes, all parts of them.

    Raises:
        ImageError: no record, or cut short.
    """
    payload = b""
    at, expected = 0, (WHOLE, FIRST)
    while True:
        flag, length = _head(content[at : at + HEAD_BYTES], expected)
        part = content[at + HEAD_BYTES : at + HEAD_BYTES + length]
        if len(part) < length:
            raise ImageError("damaged record: it is cut short")
        payload += part
        if flag in (WHOLE, LAST):
            return payload
        payload += _MAGIC_BYTES
        at, expected = at + HEAD_BYTES + length, (MIDDLE, LAST)


def record_size(file: BinaryIO, offset: int) -> int:
    """Return the bytes a record takes, without its last zeros, by walking through its parts.

    Raises:
        ImageError: no record begins there.
    """
    at, end, expected = offset, file.seek(0, 2), (WHOLE, FIRST)
    while True:
        file.seek(min(at, end))  # systems refuse places no file can have
        flag, length = _head(file.read(HEAD_BYTES), expected)
        at, expected = at + HEAD_BYTES + length, (MIDDLE, LAST)
        if flag in (WHOLE, LAST):
            return at - offset


def _head(content: bytes, expected: tuple[int, int]) -> tuple[int, int]:
    """Read flag and length of a part."""
    if len(content) < HEAD_BYTES:
        raise ImageError("damaged record: it is cut short")
    magic, word = _HEAD.unpack(content)
    flag = word >> LENGTH_BITS
    if magic != MAGIC or flag not in expected:
        raise ImageError("damaged record: none begins where the index says")
    return flag, word & ((1 << LENGTH_BITS) - 1)


def pack_entry(labels: float | Sequence[float], number: int, picture: bytes = b"") -> bytes:
    """Return the payload of a picture's record.

    Args:
        labels: one, or several.
        number: kept as its id.
        picture: content of a picture file.
    """
    if isinstance(labels, int | float):
        return _ENTRY.pack(0, labels, number, 0) + picture
    several = struct.pack(f"<{len(labels)}f", *labels)
    return _ENTRY.pack(len(labels), 0.0, number, 0) + several + picture


def unpack_entry(payload: bytes) -> tuple[list[float], bytes]:
    """Return labels and picture of a record's payload.

    Raises:
        ImageError: too short to be one.
    """
    if len(payload) < _ENTRY.size:
        raise ImageError("damaged record: too short for a picture")
    count, label, _, _ = _ENTRY.unpack_from(payload)
    if count == 0:
        return [label], payload[_ENTRY.size :]
    end = _ENTRY.size + 4 * count
    if len(payload) < end:
        raise ImageError("damaged record: too short for its labels")
    return list(struct.unpack_from(f"<{count}f", payload, _ENTRY.size)), payload[end:]


def index_path(path: Path) -> Path:
    """Return the index that belongs to a `.rec` file."""
    return path.with_suffix(".idx")


def listing_path(path: Path) -> Path:
    """Return the list of pictures that belongs to a `.rec` file: number, label and name."""
    return path.with_suffix(".lst")


def property_path(path: Path) -> Path:
    """Return the file that InsightFace's trainers ask for the number of people and the size."""
    return path.with_name("property")
