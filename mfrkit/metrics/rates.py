"""Figures read off a curve of error rates: AUC, equal error rate, TAR at a FAR.

Conventions and names are those of `mfrkit.metrics.roc`.
"""

from dataclasses import dataclass

import numpy as np

from mfrkit.errors import InputError
from mfrkit.metrics.roc import Roc


def auc(curve: Roc) -> float:
    """Return the probability that a random genuine score exceeds a random impostor score.

    Convention:
        Ties count one half; failed comparisons tie with each other below all others. NaN when
        one kind of comparison is absent.

    Example:
        >>> from mfrkit.metrics.roc import roc
        >>> auc(roc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])))
        0.875
    """
    if not curve.is_defined:
        return float("nan")
    # Failed comparisons, if any, form one last level that accepts everything.
    return float(np.trapezoid(np.append(curve.tar, 1.0), np.append(curve.fmr, 1.0)))


@dataclass(frozen=True)
class EqualError:
    """Where as many impostors are accepted as genuine comparisons are rejected.

    Attributes:
        rate: the equal error rate in [0, 1]; NaN when the two rates never meet.
        threshold: the similarity at which it is reached; NaN likewise.
    """

    rate: float
    threshold: float


def equal_error(curve: Roc) -> EqualError:
    """Find the equal error rate.

    Convention:
        A finite set of scores seldom has a threshold at which both rates agree; the rate is
        interpolated linearly between the two neighbouring points of the curve.

    Returns:
        Rate and threshold; NaN when one kind of comparison is absent, or so many failed that the
        rates never meet.

    Example:
        >>> from mfrkit.metrics.roc import roc
        >>> equal_error(roc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])))
        EqualError(rate=0.25, threshold=0.65)
    """
    gap = curve.fmr - curve.fnmr  # rises from -1
    crossing = int(np.argmax(gap >= 0))
    if not curve.is_defined or gap[crossing] < 0:
        return EqualError(float("nan"), float("nan"))
    before, after = crossing - 1, crossing
    weight = gap[before] / (gap[before] - gap[after])
    rate = curve.fmr[before] + weight * (curve.fmr[after] - curve.fmr[before])
    upper, lower = curve.thresholds[before], curve.thresholds[after]
    threshold = upper + weight * (lower - upper) if np.isfinite(upper) else lower
    return EqualError(float(rate), float(threshold))


@dataclass(frozen=True)
class OperatingPoint:
    """The best a system does while it accepts no more impostors than asked for.

    Attributes:
        target: the largest FAR allowed, in (0, 1].
        threshold: the lowest similarity that keeps to it; +inf when only rejecting all does.
        far: the FAR reached there, at most `target`.
        tar: the TAR reached there; FMR100 and FMR1000 are 1 - TAR at 1 % and 0.1 %.
        enough_impostors: whether there are the 1/target impostor comparisons without which the
            point only says that no impostor was accepted.
    """

    target: float
    threshold: float
    far: float
    tar: float
    enough_impostors: bool

    @property
    def fnmr(self) -> float:
        """The FNMR reached there."""
        return 1.0 - self.tar


def operating_point(curve: Roc, target: float) -> OperatingPoint:
    """Find the most lenient threshold, one for all comparisons, that keeps the FAR in bounds.

    Args:
        curve: error rates of the system.
        target: the largest FAR allowed, in (0, 1].

    Returns:
        The point; NaN rates when one kind of comparison is absent.

    Raises:
        InputError: a target outside (0, 1].

    Example:
        >>> from mfrkit.metrics.roc import roc
        >>> curve = roc(np.array([0.9, 0.4, 0.3, 0.1]), np.array([True, True, False, False]))
        >>> operating_point(curve, 0.5)
        OperatingPoint(target=0.5, threshold=0.3, far=0.5, tar=1.0, enough_impostors=True)
    """
    if not 0 < target <= 1:
        raise InputError(f"FAR {target:g}: expected a share above 0 and at most 1")
    if not curve.is_defined:
        return OperatingPoint(target, float("nan"), float("nan"), float("nan"), False)
    place = int(np.searchsorted(curve.fmr, target, side="right")) - 1
    return OperatingPoint(
        target=target,
        threshold=float(curve.thresholds[place]),
        far=float(curve.fmr[place]),
        tar=float(curve.tar[place]),
        enough_impostors=round(curve.impostor * target, 9) >= 1,
    )
