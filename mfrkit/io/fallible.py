"""A file HDF5 can fail to write to without crashing the process."""

import io
from pathlib import Path
from typing import Any


class FallibleFile(io.FileIO):
    """A new file that keeps the first write error instead of passing it to HDF5.

    HDF5 cannot close a file it failed to write (a full disk, say): it crashes, at the latest when
    the process ends. So from the first error on, writes go to memory, where HDF5 finds them again,
    and the caller asks `check` for the error soon after.

    Args:
        path: file to create.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._path = path
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []  # (offset, content), oldest first
        self._end = 0  # of the file as HDF5 sees it, once there was an error

    def check(self) -> None:
        """Raise the first error there was.

        Raises:
            OSError: a write failed; the file is not usable.
        """
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
