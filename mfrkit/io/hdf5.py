"""HDF5 files of anybody, and a file that HDF5 can fail to write to without crashing the process.

An HDF5 file can point at other files (external links, raw data kept outside, virtual datasets),
and can claim data of any size in a few bytes. So nothing is read from other files, and nothing
is believed of its size: a dataset is taken only if it lies in the file itself and unfolds to no
more than such a file can hold.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mfrkit.errors import InputError

# Times its file's size a dataset may take in memory: vectors hardly compress, names do.
_UNFOLDS = 64
_SPARE = 1 << 20  # bytes any file may ask for
_ATTRIBUTE_VALUES = 1024
_TEXT_ROWS = 256  # texts of any length that are read at once
# What HDF5's Python package raises on a damaged file.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises inside the block into one `InputError` that names the file."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split()).strip("'\"") or type(error).__name__
        raise InputError(f"{path}: damaged HDF5 file ({reason})") from error


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading; what is none, unreadable or in use is an InputError."""
    try:
        return h5py.File(path, "r")
    except _DAMAGE as error:
        if "unable to lock" in str(error):
            raise InputError(
                f"{path}: in use by a program that writes to it; wait for that, or copy the file"
            ) from error
        if isinstance(error, OSError) and isinstance(error.errno, int) and error.errno > 0:
            raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
        raise InputError(f"{path}: not a readable HDF5 file") from error


def find_dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset | None:
    """Return a dataset that lies in the file itself, or None if there is none of this name.

    Something else of the name, data that lie elsewhere, or more of them than the file can hold are
    an InputError.
    """
    holder: Any = file
    for part in name.split("/"):
        with reading(path):
            link = holder.get(part, getlink=True)
            inside = None if not isinstance(link, h5py.HardLink) else holder.get(part)
        if link is None:
            return None
        if inside is None:
            raise InputError(f"{path}: {part!r} is a link to data elsewhere; refused")
        holder = inside
        if part != name.rpartition("/")[2] and not isinstance(holder, h5py.Group):
            raise InputError(f"{path}: {part!r} is no group; is it an embedding file?")
    if not isinstance(holder, h5py.Dataset) or holder.shape is None:
        raise InputError(f"{path}: {name!r} is no dataset of values; is it an embedding file?")
    with reading(path):
        if holder.is_virtual or holder.external:
            raise InputError(f"{path}: the data of {name!r} lie in other files; refused")
        _check_size(path, name, holder.size or 0, holder.dtype.itemsize)
        if holder.size and holder.chunks:  # a chunk is unfolded whole, whatever is read of it
            _check_size(path, name, math.prod(holder.chunks), holder.dtype.itemsize)
    return holder


def _check_size(path: Path, name: str, values: int, width: int) -> None:
    """Refuse data that cannot come from a file of this size; `width` is in bytes."""
    size = path.stat().st_size
    if values > size + _SPARE or values * width > _UNFOLDS * size + _SPARE:
        raise InputError(
            f"{path}: {name!r} claims {values} values of {width} bytes in a file of {size}; refused"
        )


def read_texts(dataset: h5py.Dataset, path: Path, start: int, stop: int) -> list[str]:
    """Return rows of a dataset (N,) of texts, as long as its file can hold them."""
    fixed = dataset.dtype.kind == "S"
    step = max(1, stop - start) if fixed else _TEXT_ROWS
    found: list[str] = []
    length = 0
    for first in range(start, stop, step):
        with reading(path):
            values = dataset[first : min(first + step, stop)]
            length += 0 if fixed else sum(map(len, values))
            _check_size(path, dataset.name.lstrip("/"), length, 1)
            found.extend(_decode(value) for value in values)
    return found


def read_attributes(holder: h5py.File, path: Path) -> dict[str, Any]:
    """Return the root attributes: numbers, texts and short rows of them."""
    found = {}
    with reading(path):
        for name in holder.attrs:
            if holder.attrs.get_id(name).shape is None:
                continue
            if math.prod(holder.attrs.get_id(name).shape) > _ATTRIBUTE_VALUES:
                raise InputError(f"{path}: attribute {name!r} is larger than any mfrkit reads")
            value = holder.attrs[name]
            found[name] = value.item() if isinstance(value, np.generic) else value
    return found


def _decode(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


class FallibleFile(io.FileIO):
    """A new file that keeps the first write error instead of passing it to HDF5.

    HDF5 cannot close a file it failed to write (a full disk, say): it crashes, at the latest when
    the process ends. So from the first error on, writes go to memory, where HDF5 finds them again,
    and the caller asks `check` for the error soon after.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._path = path
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []  # (offset, content), oldest first
        self._end = 0  # of the file as HDF5 sees it, once there was an error

    def check(self) -> None:
        """Raise the first OSError there was: the file is not usable."""
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self._path))

    def write(self, content: Any) -> int:
        """Write everything, to memory if the disk refuses."""
        view, start = memoryview(content).cast("B"), self.tell()
        done = 0
        while self._error is None and done < len(view):
            try:
                done += super().write(view[done:]) or 0
            except OSError as error:
                self._error, self._end = error, super().seek(0, io.SEEK_END)
        if done < len(view):
            self._unwritten.append((start + done, bytes(view[done:])))
            self.seek(start + len(view))
            self._end = max(self._end, start + len(view))
        return len(view)

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Move, counting what is in memory as part of the file."""
        if whence == io.SEEK_END and self._error is not None:
            return super().seek(self._end + position)
        return super().seek(position, whence)

    def readinto(self, buffer: Any) -> int:
        """Read, from memory what never reached the disk."""
        view, start = memoryview(buffer).cast("B"), self.tell()
        done = super().readinto(view) or 0
        if not self._unwritten:
            return done
        view[done:] = bytes(len(view) - done)
        for offset, content in self._unwritten:
            low = max(offset, start)
            high = min(offset + len(content), start + len(view))
            if low < high:
                view[low - start : high - start] = content[low - offset : high - offset]
        self.seek(start + len(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the file's size, or remember why not."""
        size = self.tell() if size is None else size
        if self._error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self._error = error
        self._end = size
        return size
