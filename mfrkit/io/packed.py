"""A picture inside a larger file."""

from dataclasses import dataclass
from pathlib import Path

from mfrkit.errors import ImageError


@dataclass(frozen=True)
class Packed:
    """A picture inside a larger file; it can be read like a path.

    Attributes:
        archive: the file.
        name: of the picture in it.
        offset: where it begins, bytes.
        size: its length, bytes.
    """

    archive: Path
    name: str
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """Read the picture's file content.

        The archive is opened for each read: no handle is shared between threads, and a thousand
        shards do not need a thousand handles.

        Raises:
            ImageError: the archive ends before the picture does.
        """
        with self.archive.open("rb", buffering=0) as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ImageError("truncated: its archive ends too early")
        return content

    def __str__(self) -> str:
        return f"{self.archive}: {self.name}"
