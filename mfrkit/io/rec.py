"""RecordIO: many records in one `.rec` file, their places in a text file `.idx` beside it.

Source:
    dmlc-core, `include/dmlc/recordio.h`, for records; MXNet, `python/mxnet/recordio.py`, for what
    stands before a picture in one. InsightFace's training sets are such files.

A record is the magic word, a word with three bits of flag and 29 of length, the payload, and
zeros up to a multiple of four bytes. Where the magic word stands in the payload at such a
multiple, it is left out and the payload goes on in a further part: flag 0 is a whole record, 1, 2
and 3 are first, middle and last parts. All numbers are little-endian.

As InsightFace has it, record 0 tells how many pictures there are; they follow as records 1 to
N - 1. If the pictures of each person follow each other, a record for each person comes behind
them, with where they begin and end. MXNet's programs read what is written here. Opening a file
reads the head of every record, and keeps 24 bytes for each.
"""

import re
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError, InputError
from mfrkit.io.files import naming, replacing_together
from mfrkit.io.images import Packed
from mfrkit.io.item import ArchiveSource
from mfrkit.io.manifest import Record

_MAGIC = 0xCED7230A
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
LENGTH_BITS = 29
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_PART_HEAD = struct.Struct("<II")
_CUT_SHORT = "damaged record: it is cut short"
_MOST_PARTS = 100  # of a record; a part ends where a picture has the magic number, by chance
_ENTRY = struct.Struct("<IfQQ")  # number of labels (0: one, in the next field), label, id, id2


def pack_record(payload: bytes) -> bytes:
    """Return the bytes of a record."""
    cuts = [m.start() for m in re.finditer(re.escape(_MAGIC_BYTES), payload) if not m.start() % 4]
    starts, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)]
    parts = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        last = number == len(cuts)
        flag = (_LAST if last else _MIDDLE) if number else (_WHOLE if last else _FIRST)
        parts += [_PART_HEAD.pack(_MAGIC, flag << LENGTH_BITS | end - start), payload[start:end]]
    return b"".join(parts) + bytes(-len(payload) % 4)


def unpack_record(content: bytes) -> bytes:
    """Return the payload of a record, given all its bytes; ImageError if they are none."""
    parts = []
    for start, end in _parts(lambda at: content[at : at + _PART_HEAD.size]):
        if end > len(content):
            raise ImageError(_CUT_SHORT)
        parts.append(content[start:end])
    return _MAGIC_BYTES.join(parts)


def record_size(file: BinaryIO, offset: int) -> int:
    """Return the bytes a record takes, without its last zeros; ImageError if none begins there."""
    size = file.seek(0, 2)

    def head(at: int) -> bytes:
        file.seek(min(offset + at, size))  # systems refuse places no file can have
        return file.read(_PART_HEAD.size)

    return max(end for _, end in _parts(head))


def _parts(head: Callable[[int], bytes]) -> Iterator[tuple[int, int]]:
    """Walk through a record: yield where the payload of each part begins and ends."""
    end, expected = 0, (_WHOLE, _FIRST)
    for _ in range(_MOST_PARTS):
        content, start = head(end), end + _PART_HEAD.size
        if len(content) < _PART_HEAD.size:
            raise ImageError(_CUT_SHORT)
        magic, word = _PART_HEAD.unpack(content)
        flag, end = word >> LENGTH_BITS, start + (word & ((1 << LENGTH_BITS) - 1))
        if magic != _MAGIC or flag not in expected:
            raise ImageError("damaged record: none begins where the index says")
        yield start, end
        if flag in (_WHOLE, _LAST):
            return
        expected = (_MIDDLE, _LAST)
    raise ImageError(f"damaged record: in more than {_MOST_PARTS} parts")


def pack_entry(labels: float | Sequence[float], number: int, picture: bytes = b"") -> bytes:
    """Return the payload of a picture's record: label or labels, its id, its file content."""
    if isinstance(labels, int | float):
        return _ENTRY.pack(0, labels, number, 0) + picture
    several = struct.pack(f"<{len(labels)}f", *labels)
    return _ENTRY.pack(len(labels), 0.0, number, 0) + several + picture


def unpack_entry(payload: bytes) -> tuple[list[float], bytes]:
    """Return labels and picture of a record's payload; ImageError if it is too short."""
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


UNKNOWN = -1  # label of a picture of nobody known


class RecWriter:
    """Appends pictures to `.rec`, `.idx` and `.lst` files; holds one range for each person."""

    def __init__(self, records: BinaryIO, index: BinaryIO, listing: BinaryIO) -> None:
        self._records, self._index, self._listing = records, index, listing
        self._number = 1
        self._ranges: dict[int, tuple[int, int]] = {}
        self._grouped = True
        self._write(0, pack_entry((0, 0), 0))  # written again when the numbers are known

    def add(self, label: int, name: str, picture: bytes) -> None:
        """Append a picture file of a person, or of `UNKNOWN`; the name is for the listing."""
        number = self._number
        self._write(number, pack_entry(float(label), number, picture))
        line = f"{number}\t{label}\t{name}\n"
        self._listing.write(line.encode("utf-8", "surrogateescape"))
        first, end = self._ranges.get(label, (number, number))
        self._grouped &= end == number and label != UNKNOWN
        self._ranges[label] = first, number + 1
        self._number += 1

    def finish(self) -> None:
        """Append the people's ranges and complete record 0."""
        pictures = self._number
        people = pictures
        if self._grouped:
            for label in sorted(self._ranges):
                self._write(people, pack_entry(self._ranges[label], people))
                people += 1
        self._records.seek(0)
        self._records.write(pack_record(pack_entry((pictures, people), 0)))

    def _write(self, number: int, payload: bytes) -> None:
        self._index.write(f"{number}\t{self._records.tell()}\n".encode())
        self._records.write(pack_record(payload))


@contextmanager
def writing_records(path: Path, about: Callable[[], bytes]) -> Iterator[RecWriter]:
    """Write a `.rec` file with index, listing and `property`; all appears when the block succeeds.

    Without its index the file is not read, so that is what is withdrawn first and comes last.
    `about` returns the content of `property` when all pictures are written.
    """
    paths = [listing_path(path), property_path(path), path, index_path(path)]
    with replacing_together(paths) as (listing_part, property_part, records_part, index_part):
        with (
            naming(path),
            listing_part.open("wb") as listing,
            index_part.open("wb") as index,
            records_part.open("wb") as records,
        ):
            writer = RecWriter(records, index, listing)
            yield writer
            writer.finish()
        property_part.write_bytes(about())


# A record's head, the fixed part of a picture's, and the first of several labels.
_RECORD_HEAD = np.dtype(
    {
        "names": ["magic", "word", "labels", "label", "ids", "first"],
        "formats": ["<u4", "<u4", "<u4", "<f4", "<2u8", "<f4"],
    }
)
_BLOCK = 1 << 16  # heads gathered at once: 2 MB, and as many pages of the file at most


class _RecordPicture(Packed):
    """A picture in a record, behind its labels."""

    def read_bytes(self) -> bytes:
        """Read the picture's file content; ImageError if the record is damaged."""
        return unpack_entry(unpack_record(super().read_bytes()))[1]


class RecSource(ArchiveSource):
    """The pictures of a `.rec` file, in the order of its index beside it.

    A picture's key is `label/number`, number being its key in the index. Where record 0 has several
    labels and no picture, it tells how many pictures there are; the records behind these say where
    each person's begin and end.

    Raises:
        InputError: no index, or one that is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        numbers, offsets = _read_index(index_path(path))
        kept = _pictures(path, numbers, offsets)
        self._numbers, self._offsets = numbers[kept], offsets[kept]
        self._sizes, values = _scan(path, self._offsets)
        faults = _mend(path, self._offsets, self._sizes)
        known = np.isfinite(values) & (values >= 0)
        known[list(faults)] = False
        self._people, places = np.unique(values[known].astype(np.int64), return_inverse=True)
        labels = np.full(len(values), -1, np.int32)
        labels[known] = places
        # A number is a person in this file only; everywhere else it is somebody else.
        names = [f"{path.resolve()}: {number}" for number in self._people.tolist()]
        super().__init__(labels, names, faults)

    def _record(self, position: int) -> Record:
        label, key = self.labels[position], str(self._numbers[position])
        person = None if label < 0 else str(self._people[label])
        key = key if person is None else f"{person}/{key}"
        return Record(key, key, key, identity=person)

    def _picture(self, position: int, record: Record) -> Packed:
        offset, size = int(self._offsets[position]), int(self._sizes[position])
        return _RecordPicture(self.path, record.key, offset, size)


def _read_index(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return keys and offsets in file order."""
    if not path.is_file():
        raise InputError(f"{path}: not there; a .rec file is read through the index beside it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns of text that is no number
            words = np.fromfile(path, np.int64, sep=" ").reshape(-1, 2)
        if (words < 0).any():
            raise ValueError("negative")
    except (ValueError, DeprecationWarning) as error:
        raise InputError(f"{path}: not an index: expected lines of key, tab, offset") from error
    numbers, offsets = words[:, 0].copy(), words[:, 1].copy()
    values, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{path}: key {values[counts > 1][0]} appears twice")
    return numbers, offsets


def _scan(path: Path, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the size of each record, 0 where no whole one begins, and its first label."""
    sizes = np.zeros(len(offsets), np.int32)
    values = np.full(len(offsets), np.nan, np.float32)
    inside = np.flatnonzero(offsets <= path.stat().st_size - _RECORD_HEAD.itemsize)
    for start in range(0, len(inside), _BLOCK):
        block = inside[start : start + _BLOCK]
        # Mapped anew for each block, so that pages read before do not count as our memory.
        content = np.memmap(path, np.uint8, "r")
        heads = content[offsets[block, None] + np.arange(_RECORD_HEAD.itemsize)].view(_RECORD_HEAD)[
            :, 0
        ]
        whole = (heads["magic"] == _MAGIC) & (heads["word"] >> LENGTH_BITS == _WHOLE)
        sizes[block] = np.where(whole, heads["word"] + _PART_HEAD.size, 0)
        values[block] = np.where(heads["labels"] > 0, heads["first"], heads["label"])
    return sizes, values


def _pictures(
    path: Path, numbers: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which records are pictures."""
    first = np.flatnonzero(numbers == 0)
    if not len(first):
        return np.ones(len(numbers), bool)
    try:
        with path.open("rb") as file:
            offset = int(offsets[first[0]])
            size = record_size(file, offset)
        labels, picture = unpack_entry(unpack_record(Packed(path, "0", offset, size).read_bytes()))
    except ImageError as error:
        raise InputError(f"{path}: record 0: {error}; is {index_path(path)} its index?") from error
    if len(labels) == 1 or picture:
        return np.ones(len(numbers), bool)
    return (numbers > 0) & (numbers < labels[0])


def _mend(path: Path, offsets: NDArray[np.int64], sizes: NDArray[np.int32]) -> dict[int, str]:
    """Fill in the sizes of records in several parts, and return what is wrong with which."""
    faults: dict[int, str] = {}
    with path.open("rb") as file:
        for position in np.flatnonzero(sizes == 0).tolist():
            try:
                sizes[position] = record_size(file, int(offsets[position]))
            except ImageError as error:
                faults[position] = str(error)
    for position in np.flatnonzero(offsets + sizes > path.stat().st_size).tolist():
        faults.setdefault(position, _CUT_SHORT)
    return faults
