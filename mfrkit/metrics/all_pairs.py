"""Compare every face with every other, and count the scores by bin.

A tile of the product of two blocks of unit vectors is binned while it is still in the cache. The
few comparisons that are no impostor comparisons are then looked up in the tile itself and taken
out of its counts, so that the bulk is counted without asking who is who.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.metrics.blocks import Faces, Indices, equal_pairs
from mfrkit.metrics.histogram import BINS, SCALE, ScoreHistogram, count_bins, to_bins
from mfrkit.metrics.roc import Counts

# 1024 x 1024 products (4 MB) are multiplied at nearly the full speed of BLAS and stay in the cache.
TILE = 1024
_TILES_AT_ONCE = 4  # spread the histogram's fixed cost, that of 500,000 scores

Bins = NDArray[np.int16]


class PairCounter:
    """Counts the comparisons of blocks; each thread has its own.

    Args:
        within: the two sides are one set, each of whose pairs counts once.
    """

    def __init__(self, *, within: bool) -> None:
        self.within = within
        self._products = np.empty(TILE * TILE, np.float32)
        self._bins = np.empty(_TILES_AT_ONCE * TILE * TILE, np.int16)
        self._filled = 0
        self._exceptions: list[tuple[Bins, Bins]] = []  # of one person, of one photo
        self._genuine = np.zeros(BINS, np.int64)
        self._impostor = np.zeros(BINS, np.int64)

    def add(self, rows: Faces, columns: Faces) -> None:
        """Compare every row with every column.

        Args:
            rows: any number of faces.
            columns: at most TILE faces.
        """
        scaled = columns.vectors * np.float32(SCALE)
        for start in range(0, len(rows), TILE):
            some = rows.part(start, start + TILE)
            if not len(columns) or (self.within and some.place[0] >= columns.place[-1]):
                continue  # the tile is empty, or lies below the diagonal
            size = len(some) * len(columns)
            if self._filled + size > self._bins.size:
                self._count()
            products = self._products[:size].reshape(len(some), len(columns))
            np.matmul(some.vectors, scaled.T, out=products)
            self._append(products, some, columns)

    def _append(self, products: NDArray[np.float32], rows: Faces, columns: Faces) -> None:
        """Bin a tile, and note which of its comparisons are no impostor comparisons."""
        end = self._filled + products.size
        tile = self._bins[self._filled : end].reshape(products.shape)
        to_bins(products, tile)
        r, c = self._one_person(rows, columns)
        apart = rows.photo[r] != columns.photo[c]
        self._exceptions.append((tile[r[apart], c[apart]], tile[r[~apart], c[~apart]]))
        if self.within and rows.place[-1] >= columns.place[0]:  # on the diagonal
            above = tile[rows.place[:, None] < columns.place]
            end = self._filled + above.size
            self._bins[self._filled : end] = above
        self._filled = end

    def _count(self) -> None:
        """Empty the buffer of bins into the counts."""
        if self._filled:
            genuine, same_photo = (
                count_bins(np.concatenate(bins)) for bins in zip(*self._exceptions, strict=True)
            )
            self._genuine += genuine
            self._impostor += count_bins(self._bins[: self._filled]) - genuine - same_photo
        self._filled = 0
        self._exceptions.clear()

    def _one_person(self, rows: Faces, columns: Faces) -> tuple[Indices, Indices]:
        """Return where in the tile one person meets."""
        r, c = equal_pairs(rows.person, columns.person)
        if not self.within:
            return r, c
        counts = rows.place[r] < columns.place[c]
        return r[counts], c[counts]

    def result(self) -> tuple[Counts, Counts]:
        """Return the (BINS,) counts of genuine and of impostor comparisons so far."""
        self._count()
        return self._genuine.copy(), self._impostor.copy()


@dataclass(frozen=True)
class PairTotals:
    """How many comparisons there are, scored or not."""

    genuine: int
    impostor: int
    same_photo: int


def pair_totals(
    first: tuple[Indices, Indices], second: tuple[Indices, Indices] | None
) -> PairTotals:
    """Count the comparisons of two sets, or within one, without making them.

    Args:
        first: (N,) person and (N,) photo codes.
        second: the same of the other set, or None for the pairs within the first.

    Example:
        >>> people, photos = np.array([0, 0, 1]), np.array([0, 1, 2])
        >>> pair_totals((people, photos), None)
        PairTotals(genuine=1, impostor=2, same_photo=0)
    """
    if second is None:
        count = len(first[0])
        every = count * (count - 1) // 2
        one_person, one_photo = (_pairs_within(codes) for codes in first)
    else:
        every = len(first[0]) * len(second[0])
        one_person, one_photo = (_pairs_between(a, b) for a, b in zip(first, second, strict=True))
    return PairTotals(one_person - one_photo, every - one_person, one_photo)


def _pairs_within(codes: Indices) -> int:
    sizes = np.unique(codes, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def _pairs_between(a: Indices, b: Indices) -> int:
    (codes, sizes), (other_codes, other_sizes) = (
        np.unique(each, return_counts=True) for each in (a, b)
    )
    _, mine, theirs = np.intersect1d(codes, other_codes, assume_unique=True, return_indices=True)
    return int(sizes[mine] @ other_sizes[theirs])


def to_histogram(counts: tuple[Counts, Counts], totals: PairTotals) -> ScoreHistogram:
    """Join the counts of scored comparisons with how many there should have been."""
    genuine, impostor = counts
    failed = [totals.genuine - genuine.sum(), totals.impostor - impostor.sum()]
    return ScoreHistogram(genuine, impostor, np.array(failed, np.int64))
