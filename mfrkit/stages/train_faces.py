"""The faces of a training run, looked up by place: lists of them, and archives of any size."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mfrkit.io.archive import ArchiveSource
from mfrkit.io.manifest import Record
from mfrkit.io.packed import Packed


class TrainFace(NamedTuple):
    """One crop to train on.

    Attributes:
        path: the picture, a file or part of one.
        record: what is known of it.
        label: identity from 0, -1 where unknown.
    """

    path: Path | Packed
    record: Record
    label: int


class Faces(Protocol):
    """Faces by place, from 0."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, place: int, /) -> TrainFace:
        """Return one."""

    def __iter__(self) -> Iterator[TrainFace]:
        """Yield all, in order."""


class ArchiveFaces:
    """The usable faces of an archive; each is looked up when it is asked for.

    Args:
        source: the archive.
        labels: of the run, for each person of the source.
    """

    def __init__(self, source: ArchiveSource, labels: Sequence[int]) -> None:
        self._source = source
        self._places = source.usable()
        own = source.labels[self._places]
        of_run: NDArray[np.int32] = np.array([*labels, -1], np.int32)  # place -1: nobody known
        self._labels = of_run[own]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int, /) -> TrainFace:
        item = self._source[int(self._places[place])]
        if item.path is None:
            raise LookupError(f"{item.record.key}: not usable after all")
        return TrainFace(item.path, item.record, int(self._labels[place]))

    def __iter__(self) -> Iterator[TrainFace]:
        return (self[place] for place in range(len(self)))


class JoinedFaces:
    """Several sources of faces, one behind the other.

    Example:
        >>> faces = [TrainFace(Path(name), Record(name, name, name), -1) for name in "abc"]
        >>> joined = JoinedFaces([faces[:1], [], faces[1:]])
        >>> len(joined), joined[1].record.key, [face.record.key for face in joined]
        (3, 'b', ['a', 'b', 'c'])
    """

    def __init__(self, parts: Sequence[Faces]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: int, /) -> TrainFace:
        part = int(np.searchsorted(self._ends, place, side="right"))
        return self._parts[part][place - self._ends[part] + len(self._parts[part])]

    def __iter__(self) -> Iterator[TrainFace]:
        return (face for part in self._parts for face in part)
