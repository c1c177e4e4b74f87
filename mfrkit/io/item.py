"""One input of a stage, and what a stream of them can do."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from mfrkit.io.images import count_pixels
from mfrkit.io.manifest import Record
from mfrkit.io.packed import Packed


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        position: zero-based place among all inputs, the same in every shard.
        record: what is known of it; skipped if an earlier stage already gave it up.
        path: the picture to read, a file or part of one; None for a skipped record.
    """

    position: int
    record: Record
    path: Path | Packed | None


def pixel_count(item: Item) -> int:
    """Return how many pixels an input's picture has; 0 where reading it will fail."""
    return 0 if item.path is None else count_pixels(item.path)


def root_of(item: Item) -> Path:
    """Return the folder an input's `path` is relative to; none for a picture inside a file.

    Example:
        >>> record = Record("a/b", "a/b.png", "b.jpg")
        >>> root_of(Item(0, record, Path("crops/a/b.png"))).as_posix()
        'crops'
    """
    if not isinstance(item.path, Path) or item.record.path is None:
        return Path()
    return item.path.parents[len(PurePosixPath(item.record.path).parts) - 1]


class Source(Protocol):
    """A stream of inputs."""

    def __iter__(self) -> Iterator[Item]:
        """Yield the inputs in order."""

    def count(self) -> int | None:
        """Return how many there are, or None if only reading them would tell."""

    def passed_over(self) -> str:
        """Say which files were no inputs, once all inputs were read; empty if there were none."""
        return ""
