"""Scores too many to keep, as counts in narrow bins.

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
from mfrkit.metrics.roc import Counts, Floats, Roc, roc_from_counts
from mfrkit.metrics.verification import Spread

BINS = 2**16
# Not 32768: a product of unit vectors may round to just above 1, and must still fit 16 bits.
SCALE = 32767.0
RESOLUTION = 1 / SCALE
_ZERO = BINS // 2  # the bin whose lower edge is 0
MOST_AT_ONCE = 2**24  # OpenCV counts in float32, which is exact up to here
_FEW = 2**18  # below, the fixed cost of OpenCV's histogram outweighs its speed


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """All comparisons of a set of faces.

    Attributes:
        genuine: (BINS,) int64, comparisons of one person per bin.
        impostor: (BINS,) int64, comparisons of two.
        failed: (2,) int64, genuine and impostor comparisons without a score.
    """

    genuine: Counts
    impostor: Counts
    failed: Counts

    @property
    def roc(self) -> Roc:
        """Error rates at the edges of the bins."""
        return roc_from_counts(lower_edges(), self.genuine, self.impostor, self.failed)


def lower_edges() -> Floats:
    """Return the (BINS,) float64 lowest score of each bin, rising.

    Example:
        >>> lower_edges()[[0, 32768, 65535]].round(4).tolist()
        [-1.0, 0.0, 1.0]
    """
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
    """Count how often each bin occurs.

    On many numbers OpenCV's histogram is three times as fast as `numpy.bincount`, which wants
    them in 64 bits.

    Args:
        bins: (N,) int16 as `to_bins` writes them, contiguous, N <= MOST_AT_ONCE.

    Returns:
        (BINS,) int64.

    Raises:
        ShapeError: not one contiguous row, or too long.

    Example:
        >>> np.flatnonzero(count_bins(np.array([-32768, 0, 0], np.int16))).tolist()
        [0, 32768]
    """
    if bins.ndim != 1 or not bins.flags.c_contiguous or bins.size > MOST_AT_ONCE:
        raise ShapeError(f"expected a contiguous row of at most 2^24 bins, got {bins.shape}")
    if bins.size < _FEW:
        return np.bincount(bins.astype(np.int64) + _ZERO, minlength=BINS)
    row = bins.view(np.uint16)[None]
    counts = cv2.calcHist([row], [0], None, [BINS], [0, BINS]).ravel().astype(np.int64)
    return np.roll(counts, _ZERO)  # as unsigned numbers, the negative bins come last


def spread_of_counts(counts: Counts, failed: int) -> Spread:
    """Summarise the scores of one kind of comparison, each taken to lie in the middle of its bin.

    Args:
        counts: (BINS,) int64.
        failed: comparisons without a score.

    Returns:
        Count, mean and deviation; the mean is off by less than half a bin, 1.6e-5.

    Example:
        >>> counts = np.zeros(BINS, np.int64)
        >>> counts[[32768, 65534]] = 1
        >>> round(spread_of_counts(counts, 2).mean, 4), spread_of_counts(counts, 2).count
        (0.5, 4)
    """
    scored = int(counts.sum())
    if not scored:
        return Spread(failed, failed, float("nan"), float("nan"))
    middles = lower_edges() + RESOLUTION / 2
    mean = float(middles @ counts / scored)
    return Spread(
        scored + failed, failed, mean, float(np.sqrt((middles - mean) ** 2 @ counts / scored))
    )
