"""Figures read off a curve of error rates: AUC, equal error rate, TAR at a FAR.

Conventions and names are those of `mfrkit.metrics.roc`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.metrics.roc import Floats, Roc


def area(fmr: Floats, tar: Floats) -> Floats:
    """Return the area under curves of accepted genuine over accepted impostor comparisons.

    Args:
        fmr: (..., T) rising along the last axis, as in `Roc`.
        tar: (..., T) likewise.

    Returns:
        (...) in [0, 1]; failed comparisons form one last level that accepts everything.
    """
    inner = np.trapezoid(tar, fmr, axis=-1)
    last = (1.0 - fmr[..., -1]) * (1.0 + tar[..., -1]) / 2
    return np.asarray(inner + last)


def meeting(fmr: Floats, fnmr: Floats) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Find where the curves of the two error rates meet, between two neighbouring points.

    Args:
        fmr: (..., T) rising along the last axis, as in `Roc`.
        fnmr: (..., T) falling.

    Returns:
        (...) the common rate, NaN where they never meet; the first point past the crossing; and
        how far in [0, 1] the crossing lies from the point before it to this one.
    """
    gap = fmr - fnmr  # rises from -1
    after = np.argmax(gap >= 0, axis=-1)
    before = np.maximum(after - 1, 0)

    def at(values: Floats, place: NDArray[np.intp]) -> Floats:
        return np.take_along_axis(values, np.expand_dims(place, -1), -1)[..., 0]

    with np.errstate(divide="ignore", invalid="ignore"):
        weight = at(gap, before) / (at(gap, before) - at(gap, after))
        rate = at(fmr, before) + weight * (at(fmr, after) - at(fmr, before))
    return np.where(at(gap, after) >= 0, rate, np.nan), after, weight


def most_lenient(fmr: Floats, target: float) -> NDArray[np.intp]:
    """Return the last point of each curve at which the FMR is still at most the target.

    Args:
        fmr: (..., T) rising along the last axis from 0, as in `Roc`.
        target: the largest FMR allowed.
    """
    return np.asarray(np.count_nonzero(fmr <= target, axis=-1) - 1)


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
    return float(area(curve.fmr, curve.tar)) if curve.is_defined else float("nan")


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
    rate, after, weight = meeting(curve.fmr, curve.fnmr)
    if np.isnan(rate):
        return EqualError(float("nan"), float("nan"))
    upper, lower = curve.thresholds[after - 1], curve.thresholds[after]
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
    place = place_of(curve, target)
    if not curve.is_defined:
        return OperatingPoint(target, float("nan"), float("nan"), float("nan"), False)
    return OperatingPoint(
        target=target,
        threshold=float(curve.thresholds[place]),
        far=float(curve.fmr[place]),
        tar=float(curve.tar[place]),
        enough_impostors=supports(curve.impostor, target),
    )


def place_of(curve: Roc, target: float) -> int:
    """Return the point of a curve with the most lenient threshold that keeps the FMR in bounds.

    Returns:
        Its index; 0, where everything is rejected, without impostors.

    Raises:
        InputError: a target outside (0, 1].
    """
    if not 0 < target <= 1:
        raise InputError(f"FAR {target:g}: expected a share above 0 and at most 1")
    return int(most_lenient(curve.fmr, target)) if curve.impostor else 0


def supports(impostors: int, target: float) -> bool:
    """Whether so many impostor comparisons let a false match at this rate be seen at all.

    Convention:
        At least 1/target of them. An estimate within 30 % (with 90 % confidence) takes thirty
        errors, so thirty times as many (Doddington's rule of 30; ISO/IEC 19795-1, annex B).

    Example:
        >>> supports(999, 1e-3), supports(1000, 1e-3)
        (False, True)
    """
    return bool(round(impostors * target, 9) >= 1)  # 29 * 0.01 is not quite 0.29 in binary
