"""One input of a stage: a file, or a picture inside a larger one; and streams of them.

Of an archive only numbers are kept for each picture, some tens of bytes; names, landmarks and
pixels are read when they are asked for, in any order. So memory hardly grows with the number of
pictures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mfrkit.io.images import Packed, count_pixels
from mfrkit.io.manifest import Record


@dataclass(frozen=True)
class Item:
    """One input."""

    position: int  # zero-based place among all inputs, the same in every shard
    record: Record  # what is known of it; skipped if an earlier stage already gave it up
    # the picture to read, a file or part of one; None for a skipped record
    path: Path | Packed | None

    @cached_property
    def pixels(self) -> int:
        """How many pixels its picture has by its header; 0 where reading it will fail."""
        return 0 if self.path is None else count_pixels(self.path)


def root_of(item: Item) -> Path:
    """Return the folder an input's `path` is relative to; none for a picture inside a file."""
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


class ArchiveSource(Source):
    """Inputs from an archive, in order or by position; the unusable ones come as skipped records.

    Args:
        labels: (N,) int32, the person on each picture, from 0; -1 where unknown.
        people: names behind the labels, the same name in two archives for the same person only.
        faults: why an input cannot be used, by position.
    """

    def __init__(
        self, labels: NDArray[np.int32], people: Sequence[str], faults: Mapping[int, str]
    ) -> None:
        self.labels, self.people, self.faults = labels, people, faults

    def __iter__(self) -> Iterator[Item]:
        return (self[position] for position in range(len(self.labels)))

    def __getitem__(self, position: int) -> Item:
        record = self._record(position)
        if position in self.faults:
            return Item(position, record.skipped(self.faults[position]), None)
        return Item(position, record, self._picture(position, record))

    def count(self) -> int:
        """Return the number of inputs, unusable ones among them."""
        return len(self.labels)

    def usable(self) -> NDArray[np.int64]:
        """Return the positions of the inputs without a fault, in order."""
        return np.setdiff1d(np.arange(len(self.labels)), list(self.faults))

    def _record(self, position: int) -> Record:
        raise NotImplementedError

    def _picture(self, position: int, record: Record) -> Packed:
        raise NotImplementedError
