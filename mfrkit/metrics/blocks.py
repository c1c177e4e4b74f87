"""Blocks of faces that are compared with each other: who and what each vector shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Faces:
    """A block of faces to be compared.

    Attributes:
        vectors: (R, D) float32, unit norm.
        person: (R,) int64, equal for faces of one person.
        photo: (R,) int64, equal for versions of one photo of one person; they are not compared.
        place: (R,) int64, rising; where a set is compared with itself, a face meets the later ones.
    """

    vectors: NDArray[np.float32]
    person: Indices
    photo: Indices
    place: Indices

    def __len__(self) -> int:
        return len(self.vectors)

    def part(self, start: int, stop: int) -> "Faces":
        """Return some consecutive faces, without a copy."""
        some = slice(start, stop)
        return Faces(self.vectors[some], self.person[some], self.photo[some], self.place[some])


def unit_rows(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Bring vectors to length one and tell which have a direction.

    Args:
        vectors: (N, D) float.

    Returns:
        (N, D) float32, zeros where there is no direction, and (N,) bool.

    Example:
        >>> unit, usable = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]]))
        >>> float(unit[0, 0].round(4)), usable.tolist()
        (0.6..., [True, False, False])
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    usable = np.isfinite(lengths) & (lengths > 0)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=usable)
    with np.errstate(invalid="ignore"):  # infinite values of vectors that go in the next line
        unit = vectors.astype(np.float32, copy=False) * scale[:, None].astype(np.float32)
    unit[~usable] = 0
    return unit, usable


def equal_pairs(rows: Indices, columns: Indices) -> tuple[Indices, Indices]:
    """Find all pairs of equal codes.

    Args:
        rows: (R,) int64.
        columns: (C,) int64.

    Returns:
        Row and column of each pair, by row.

    Example:
        >>> a, b = equal_pairs(np.array([5, 7]), np.array([7, 5, 7]))
        >>> a.tolist(), b.tolist()
        ([0, 1, 1], [1, 0, 2])
    """
    order = np.argsort(columns, kind="stable")
    ordered = columns[order]
    first = np.searchsorted(ordered, rows, side="left")
    matches = np.searchsorted(ordered, rows, side="right") - first
    row = np.repeat(np.arange(len(rows)), matches)
    # Each row's matches follow each other in `order`, from `first` on.
    step = np.arange(len(row)) - np.repeat(np.cumsum(matches) - matches, matches)
    return row, order[first[row] + step]
