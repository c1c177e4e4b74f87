"""Error rates of a verification system at every threshold.

Convention (the whole module):
    Scores are similarities: larger means more alike. A comparison is accepted when its score is
    at least the threshold. A failed comparison has the score -inf, is never accepted, and counts:
    a genuine one as a miss, an impostor one as a correct rejection.

Names:
    FMR (also FAR) is the share of impostor comparisons accepted, FNMR the share of genuine ones
    rejected, TAR = 1 - FNMR.

The curve holds counts rather than rates, so that it can equally be built from a histogram of
scores too many to keep (`roc_from_counts`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfrkit.errors import InputError, ShapeError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Roc:
    """Comparisons accepted at each threshold, from strict to lenient.

    Attributes:
        thresholds: (T,) float64, strictly falling; the first is +inf, which accepts nothing.
        accepted_genuine: (T,) int64, genuine comparisons with a score >= threshold.
        accepted_impostor: (T,) int64, the same for impostor comparisons.
        genuine: all genuine comparisons, failed ones included.
        impostor: all impostor comparisons, failed ones included.
    """

    thresholds: Floats
    accepted_genuine: Counts
    accepted_impostor: Counts
    genuine: int
    impostor: int

    @property
    def fmr(self) -> Floats:
        """(T,) share of impostor comparisons accepted, rising; NaN without any."""
        return share(self.accepted_impostor, self.impostor)

    @property
    def tar(self) -> Floats:
        """(T,) share of genuine comparisons accepted, rising; NaN without any."""
        return share(self.accepted_genuine, self.genuine)

    @property
    def fnmr(self) -> Floats:
        """(T,) share of genuine comparisons rejected, falling; NaN without any."""
        return share(self.genuine - self.accepted_genuine, self.genuine)

    @property
    def is_defined(self) -> bool:
        """Whether both kinds of comparison are there, without which error rates say nothing."""
        return self.genuine > 0 and self.impostor > 0


def share(part: ArrayLike, whole: ArrayLike) -> Floats:
    """Return what share of comparisons a part of them is: every error rate here is one.

    Args:
        part: counts or weights, of any shape.
        whole: of all comparisons of the kind; a shape that `part` broadcasts with.

    Returns:
        float64, in [0, 1]; NaN where there are none.

    Example:
        >>> share([1, 0], [4, 0]).tolist()
        [0.25, nan]
    """
    with np.errstate(invalid="ignore"):  # 0 / 0
        return np.divide(part, whole, dtype=np.float64)


def check_scores(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> Floats:
    """Check scores against their labels.

    Args:
        scores: (P,) float, similarities; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.

    Returns:
        (P,) float64, the scores; not a copy when they are float64 already.

    Raises:
        ShapeError: different lengths, not one-dimensional, or labels that are not bool.
        InputError: a NaN or +inf score.
    """
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ShapeError(f"scores and labels differ in shape: {scores.shape} vs {same.shape}")
    if same.dtype != np.bool_:
        raise ShapeError(f"labels must be bool, got {same.dtype}")
    if not (scores < np.inf).all():  # NaN compares false, so it is caught here too
        raise InputError("a score is NaN or +inf; a failed comparison must have the score -inf")
    return scores.astype(np.float64, copy=False)


def descending(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Sort scores from strict to lenient and mark where one value ends and the next begins.

    Args:
        scores: (P,) float64, similarities; -inf marks a failed comparison.

    Returns:
        (P,) places in falling order of their scores, failed comparisons last; and (L,) for each
        distinct finite score its last place in that order.

    Example:
        >>> order, last = descending(np.array([0.1, 0.4, -np.inf, 0.4]))
        >>> order[[0, 1]].tolist() in ([1, 3], [3, 1]), order[2:].tolist(), last.tolist()
        (True, [0, 2], [1, 2])
    """
    order = np.argsort(scores)[::-1]
    levels = scores[order[: np.count_nonzero(np.isfinite(scores))]]
    return order, np.flatnonzero(np.append(np.diff(levels) != 0, True)[: levels.size])


def roc(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> Roc:
    """Count the accepted comparisons at every threshold that makes a difference.

    Args:
        scores: (P,) float, similarities; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.

    Returns:
        The curve, one point per distinct finite score plus the one that accepts nothing.

    Raises:
        ShapeError: different lengths, or labels that are not bool.
        InputError: a NaN or +inf score.

    Example:
        >>> curve = roc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
        >>> curve.thresholds.tolist(), curve.fmr.tolist(), curve.fnmr.tolist()
        ([inf, 0.9, 0.4, 0.1], [0.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0])
    """
    scores = check_scores(scores, same)
    order, last_of_level = descending(scores)
    accepted_genuine = np.cumsum(same[order], dtype=np.int64)[last_of_level]
    total = int(np.count_nonzero(same))
    return Roc(
        thresholds=np.insert(scores[order][last_of_level], 0, np.inf),
        accepted_genuine=np.insert(accepted_genuine, 0, 0),
        accepted_impostor=np.insert(last_of_level + 1 - accepted_genuine, 0, 0),
        genuine=total,
        impostor=scores.size - total,
    )


def roc_from_counts(levels: Floats, genuine: Counts, impostor: Counts, failed: Counts) -> Roc:
    """Build the curve from a histogram of scores.

    Args:
        levels: (T,) float64, strictly rising; lower edge of each bin.
        genuine: (T,) int64, genuine comparisons per bin.
        impostor: (T,) int64, impostor comparisons per bin.
        failed: (2,) int64, genuine and impostor comparisons that failed.

    Returns:
        The curve at the bins' lower edges.

    Raises:
        ShapeError: arrays of different lengths.

    Example:
        >>> none = np.array([0, 0])
        >>> roc_from_counts(np.array([0.0, 0.5]), np.array([1, 3]), np.array([4, 0]), none).tar
        array([0.  , 0.75, 1.  ])
    """
    if not levels.shape == genuine.shape == impostor.shape:
        raise ShapeError(
            f"levels and counts differ: {levels.shape}, {genuine.shape}, {impostor.shape}"
        )
    return Roc(
        thresholds=np.insert(levels[::-1], 0, np.inf),
        accepted_genuine=np.insert(np.cumsum(genuine[::-1]), 0, 0),
        accepted_impostor=np.insert(np.cumsum(impostor[::-1]), 0, 0),
        genuine=int(genuine.sum() + failed[0]),
        impostor=int(impostor.sum() + failed[1]),
    )
