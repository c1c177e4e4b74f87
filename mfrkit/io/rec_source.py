"""Read the pictures of a RecordIO file in any order, as InsightFace's training sets are kept.

Opening one reads the head of every record, and keeps 24 bytes for each.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError, InputError
from mfrkit.io.archive import ArchiveSource
from mfrkit.io.manifest import Record
from mfrkit.io.packed import Packed
from mfrkit.io.recordio import (
    HEAD_BYTES,
    LENGTH_BITS,
    MAGIC,
    WHOLE,
    index_path,
    record_size,
    unpack_entry,
    unpack_record,
)

# A record's head, the fixed part of a picture's, and the first of several labels.
_HEAD = np.dtype(
    [
        ("magic", "<u4"),
        ("word", "<u4"),
        ("labels", "<u4"),
        ("label", "<f4"),
        ("id", "<u8", 2),
        ("first", "<f4"),
    ]
)
_BLOCK = 1 << 16  # heads gathered at once: 2 MB, and as many pages of the file at most


class RecordPicture(Packed):
    """A picture in a record, behind its labels."""

    def read_bytes(self) -> bytes:
        """Read the picture's file content.

        Raises:
            ImageError: the record is damaged.
        """
        return unpack_entry(unpack_record(super().read_bytes()))[1]


class RecSource(ArchiveSource):
    """The pictures of a `.rec` file, in the order of its index.

    A picture's key is `label/number`, number being its key in the index. Where record 0 has several
    labels and no picture, it tells how many pictures there are; the records behind these say where
    each person's begin and end.

    Args:
        path: the file; `.idx` lies beside it.

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
        if label >= 0:
            key = f"{self._people[label]}/{key}"
            return Record(key, key, key, identity=str(self._people[label]))
        return Record(key, key, key)

    def _picture(self, position: int, record: Record) -> Packed:
        offset, size = int(self._offsets[position]), int(self._sizes[position])
        return RecordPicture(self.path, record.key, offset, size)


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
    inside = np.flatnonzero(offsets <= path.stat().st_size - _HEAD.itemsize)
    for start in range(0, len(inside), _BLOCK):
        block = inside[start : start + _BLOCK]
        # Mapped anew for each block, so that pages read before do not count as our memory.
        content = np.memmap(path, np.uint8, "r")
        heads = content[offsets[block, None] + np.arange(_HEAD.itemsize)].view(_HEAD)[:, 0]
        whole = (heads["magic"] == MAGIC) & (heads["word"] >> LENGTH_BITS == WHOLE)
        sizes[block] = np.where(whole, heads["word"] + HEAD_BYTES, 0)
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
        faults.setdefault(position, "damaged record: it is cut short")
    return faults
