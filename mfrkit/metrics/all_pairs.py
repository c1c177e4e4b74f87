"""Compare every face with every other, and count the scores by bin.

A tile of the product of two blocks of unit vectors is binned while it is still in the cache. The
few comparisons that are no impostor comparisons are then looked up in the tile itself and taken
out of its counts, so that the bulk is counted without asking who is who.

Convention (the whole module):
    Bin b of 65,536 holds the cosine similarities s with floor(32767 s) = b - 32768; a bin is
    3.05e-5 wide. Thresholds on lower edges of bins split the scores without any error, so all
    counts at these thresholds are exact, and an FMR of 1e-6 is as exact as one of 1e-1.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
from mfrkit.metrics.rates import Counts, Floats, Roc, roc_from_counts
from mfrkit.metrics.verification import Spread

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FaceBlock:
    """A block of R faces to be compared.

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

    def part(self, start: int, stop: int) -> "FaceBlock":
        """Return some consecutive faces, without a copy."""
        some = slice(start, stop)
        return FaceBlock(self.vectors[some], self.person[some], self.photo[some], self.place[some])


def unit_rows(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Bring (N, D) vectors to length one and tell which have a direction.

    Returns:
        (N, D) float32, zeros where there is no direction, and (N,) bool.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    usable = np.isfinite(lengths) & (lengths > 0)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=usable)
    with np.errstate(invalid="ignore"):  # infinite values of vectors that go in the next line
        unit = vectors.astype(np.float32, copy=False) * scale[:, None].astype(np.float32)
    unit[~usable] = 0
    return unit, usable


def equal_pairs(rows: Indices, columns: Indices) -> tuple[Indices, Indices]:
    """Return row and column of each pair of equal codes of (R,) rows and (C,) columns, by row."""
    order = np.argsort(columns, kind="stable")
    ordered = columns[order]
    first = np.searchsorted(ordered, rows, side="left")
    matches = np.searchsorted(ordered, rows, side="right") - first
    row = np.repeat(np.arange(len(rows)), matches)
    # Each row's matches follow each other in `order`, from `first` on.
    step = np.arange(len(row)) - np.repeat(np.cumsum(matches) - matches, matches)
    return row, order[first[row] + step]


BINS = 2**16
# Not 32768: a product of unit vectors may round to just above 1, and must still fit 16 bits.
SCALE = 32767.0
RESOLUTION = 1 / SCALE
_ZERO = BINS // 2  # the bin whose lower edge is 0
MOST_AT_ONCE = 2**24  # OpenCV counts in float32, which is exact up to here
_FEW = 2**18  # below, the fixed cost of OpenCV's histogram outweighs its speed


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """All comparisons of a set of faces: (BINS,) int64 of each kind, and (2,) int64 that failed."""

    genuine: Counts
    impostor: Counts
    failed: Counts

    @property
    def roc(self) -> Roc:
        """Error rates at the edges of the bins."""
        return roc_from_counts(lower_edges(), self.genuine, self.impostor, self.failed)


def lower_edges() -> Floats:
    """Return the (BINS,) float64 lowest score of each bin, rising."""
    return (np.arange(BINS) - _ZERO) / SCALE


def to_bins(scaled: NDArray[np.float32], out: NDArray[np.int16]) -> None:
    """Turn scores into the numbers of their bins, less 32768 so that they fit 16 bits.

    Args:
        scaled: float32, SCALE times the scores, in [-1, 1] but for rounding; overwritten.
        out: int16 of the same shape, written.
    """
    np.floor(scaled, out=scaled)
    np.copyto(out, scaled, casting="unsafe")


def count_bins(bins: NDArray[np.int16]) -> Counts:
    """Count how often each bin occurs in a contiguous row of up to MOST_AT_ONCE; (BINS,) int64.

    On many numbers OpenCV's histogram is three times as fast as `numpy.bincount`, which wants
    them in 64 bits.
    """
    if bins.ndim != 1 or not bins.flags.c_contiguous or bins.size > MOST_AT_ONCE:
        raise ShapeError(f"expected a contiguous row of at most 2^24 bins, got {bins.shape}")
    if bins.size < _FEW:
        return np.bincount(bins.astype(np.int64) + _ZERO, minlength=BINS)
    row = bins.view(np.uint16)[None]
    counts = cv2.calcHist([row], [0], None, [BINS], [0, BINS]).ravel().astype(np.int64)
    return np.roll(counts, _ZERO)  # as unsigned numbers, the negative bins come last


def spread_of_counts(counts: Counts, failed: int) -> Spread:
    """Summarise (BINS,) scores of one kind of comparison and those that failed.

    Each score is taken to lie in the middle of its bin; the mean is off by less than 1.6e-5.
    """
    scored = int(counts.sum())
    if not scored:
        return Spread(failed, failed, float("nan"), float("nan"))
    middles = lower_edges() + RESOLUTION / 2
    mean = float(middles @ counts / scored)
    return Spread(
        scored + failed, failed, mean, float(np.sqrt((middles - mean) ** 2 @ counts / scored))
    )


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

    def add(self, rows: FaceBlock, columns: FaceBlock) -> None:
        """Compare every row, any number of faces, with every column, at most TILE."""
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

    def _append(self, products: NDArray[np.float32], rows: FaceBlock, columns: FaceBlock) -> None:
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

    def _one_person(self, rows: FaceBlock, columns: FaceBlock) -> tuple[Indices, Indices]:
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

    A set is given by (N,) person and (N,) photo codes.
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
