"""Whether one system is better than another on the same pairs, or merely luckier."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
from mfrkit.metrics.bootstrap import Interval, interval
from mfrkit.metrics.roc import Floats


@dataclass(frozen=True)
class McNemar:
    """The pairs that two systems decide differently.

    Attributes:
        only_first: pairs that only the first system decides rightly.
        only_second: pairs that only the second does.
        p: probability of a split at least this uneven if neither were better; 1 without any.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Test with the exact binomial form of McNemar's test, two-sided.

    Paper:
        McNemar, Psychometrika 12(2), 1947; exact form as in Dietterich, Neural Computation 10(7),
        1998. Takes the pairs for independent, which pairs that share people are not: read it
        beside the bootstrap over people.

    Args:
        first: (P,) bool, whether the first system decides each pair rightly.
        second: (P,) bool, the same for the second system.

    Raises:
        ShapeError: arrays of different lengths.

    Example:
        >>> mcnemar(np.array([True] * 5), np.array([False] * 5))
        McNemar(only_first=5, only_second=0, p=0.0625)
    """
    if first.shape != second.shape:
        raise ShapeError(f"decisions differ in length: {first.size} vs {second.size}")
    from scipy.special import bdtr  # half a second to load, wanted by few runs

    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    tail = float(bdtr(min(only_first, only_second), only_first + only_second, 0.5))
    return McNemar(only_first, only_second, min(1.0, 2 * tail))


@dataclass(frozen=True)
class Difference:
    """How much larger a figure of the first system is than that of the second.

    Attributes:
        value: first minus second, on all pairs.
        interval: where the difference lies over the resamples.
        p: two-sided, how often a resample turns the sign around, doubled.
    """

    value: float
    interval: Interval
    p: float


def difference(value: float, first: Floats, second: Floats, level: float) -> Difference:
    """Compare a figure of two systems resample by resample.

    Paper:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15; p counts
        the observed sample as one more resample, so that it is never 0.

    Args:
        value: first minus second, on all pairs.
        first: (R,) float64, the first system's figure in each resample.
        second: (R,) float64, the second system's in the same resamples.
        level: confidence in (0, 1).

    Example:
        >>> found = difference(2.0, np.full(999, 3.0), np.full(999, 1.0), 0.95)
        >>> found.interval, found.p
        (Interval(low=2.0, high=2.0), 0.002)
    """
    gaps = first - second
    gaps = gaps[np.isfinite(gaps)]
    turned = min(np.count_nonzero(gaps <= 0), np.count_nonzero(gaps >= 0))
    p = min(1.0, 2 * (1 + turned) / (1 + gaps.size)) if gaps.size else float("nan")
    return Difference(value, interval(gaps, level), float(p))
