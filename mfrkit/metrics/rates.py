"""Error rates of a verification system at every threshold, and the figures read off their curve.

Convention (all metrics):
    Scores are similarities, (P,) float: larger means more alike. A comparison is accepted when
    its score is at least the threshold. A failed comparison has the score -inf, is never accepted,
    and counts: a genuine one as a miss, an impostor one as a correct rejection. Labels (`same`)
    are (P,) bool, whether the two images show one person.

    Scores that are NaN or +inf raise an InputError, so does a target outside (0, 1]; arrays of
    different lengths, and labels that are not bool, a ShapeError.

Names:
    FMR (also FAR) is the share of impostor comparisons accepted, FNMR the share of genuine ones
    rejected, TAR = 1 - FNMR.

The curve holds counts rather than rates, so that it can equally be built from a histogram of
scores too many to keep (`roc_from_counts`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfrkit.errors import InputError, ShapeError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Roc:
    """Comparisons accepted at each threshold, from strict to lenient; failed ones count among all.

    Attributes:
        thresholds: (T,) float64, strictly falling; the first is +inf, which accepts nothing.
        accepted_genuine: (T,) int64, genuine comparisons with a score >= threshold.
        accepted_impostor: (T,) int64, the same for impostor comparisons.
        genuine: all genuine comparisons.
        impostor: all impostor comparisons.
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

    Counts or weights of any shapes that broadcast; float64 in [0, 1], NaN where there are none.
    """
    with np.errstate(invalid="ignore"):  # 0 / 0
        return np.divide(part, whole, dtype=np.float64)


def check_scores(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> Floats:
    """Check scores against their labels; return them as float64, not a copy when they are."""
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ShapeError(f"scores and labels differ in shape: {scores.shape} vs {same.shape}")
    if same.dtype != np.bool_:
        raise ShapeError(f"labels must be bool, got {same.dtype}")
    if not (scores < np.inf).all():  # NaN compares false, so it is caught here too
        raise InputError("a score is NaN or +inf; a failed comparison must have the score -inf")
    return scores.astype(np.float64, copy=False)


def descending(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Sort (P,) scores from strict to lenient and mark where one value ends and the next begins.

    Returns:
        (P,) places in falling order of their scores, failed comparisons last; and (L,) for each
        distinct finite score its last place in that order.
    """
    order = np.argsort(scores)[::-1]
    levels = scores[order[: np.count_nonzero(np.isfinite(scores))]]
    return order, np.flatnonzero(np.append(np.diff(levels) != 0, True)[: levels.size])


def roc(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> Roc:
    """Count the accepted comparisons at every distinct finite score, and at one above all of them.

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
    """Build the curve from (T,) int64 counts of scores by bin, at the bins' lower edges.

    Args:
        levels: (T,) float64, strictly rising; lower edge of each bin.
        genuine: comparisons per bin.
        impostor: likewise.
        failed: (2,) int64, genuine and impostor comparisons that failed.
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


def area(fmr: Floats, tar: Floats) -> Floats:
    """Return the area under curves of accepted genuine over accepted impostor comparisons.

    Both are (..., T), rising along the last axis, as in `Roc`; the area is (...) in [0, 1]. Failed
    comparisons form one last level that accepts everything.
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
    """Return the last point of each (..., T) curve at which the FMR is still at most the target."""
    return np.asarray(np.count_nonzero(fmr <= target, axis=-1) - 1)


def auc(curve: Roc) -> float:
    """Return the probability that a random genuine score exceeds a random impostor score.

    Ties count one half; failed comparisons tie with each other below all others. NaN when one kind
    of comparison is absent.
    """
    return float(area(curve.fmr, curve.tar)) if curve.is_defined else float("nan")


@dataclass(frozen=True)
class EqualError:
    """The equal error rate in [0, 1], and the similarity where it is; NaN if rates never meet."""

    rate: float
    threshold: float


def equal_error(curve: Roc) -> EqualError:
    """Find where as many impostors are accepted as genuine comparisons are rejected.

    Convention:
        A finite set of scores seldom has a threshold at which both rates agree; the rate is
        interpolated linearly between the two neighbouring points of the curve.

    Example:
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

    Rates are NaN when one kind of comparison is absent.
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
    """Return where on a curve the most lenient threshold is that keeps the FMR in bounds.

    Without impostors that is 0, where everything is rejected.
    """
    if not 0 < target <= 1:
        raise InputError(f"FAR {target:g}: expected a share above 0 and at most 1")
    return int(most_lenient(curve.fmr, target)) if curve.impostor else 0


def supports(impostors: int, target: float) -> bool:
    """Whether so many impostor comparisons let a false match at this rate be seen at all.

    Convention:
        At least 1/target of them. An estimate within 30 % (with 90 % confidence) takes thirty
        errors, so thirty times as many (Doddington's rule of 30; ISO/IEC 19795-1, annex B).
    """
    return bool(round(impostors * target, 9) >= 1)  # 29 * 0.01 is not quite 0.29 in binary


ENOUGH_ERRORS = 30


@dataclass(frozen=True)
class Decisions:
    """What a threshold decides for a set of comparisons, failed ones included.

    Attributes:
        genuine: comparisons of one person.
        impostor: comparisons of two people.
        false_non_matches: genuine ones rejected.
        false_matches: impostor ones accepted.
    """

    genuine: int
    impostor: int
    false_non_matches: int
    false_matches: int

    @property
    def fmr(self) -> float:
        """Share of impostor comparisons accepted; NaN without any."""
        return float(share(self.false_matches, self.impostor))

    @property
    def fnmr(self) -> float:
        """Share of genuine comparisons rejected; NaN without any."""
        return float(share(self.false_non_matches, self.genuine))

    @property
    def accuracy(self) -> float:
        """Share of comparisons decided rightly; NaN without any."""
        errors, total = self.false_matches + self.false_non_matches, self.genuine + self.impostor
        return 1 - float(share(errors, total))


def decide(scores: NDArray[np.floating], same: NDArray[np.bool_], threshold: float) -> Decisions:
    """Count the errors of one threshold; +inf rejects all."""
    accepted = check_scores(scores, same) >= threshold
    genuine = int(np.count_nonzero(same))
    return Decisions(
        genuine=genuine,
        impostor=same.size - genuine,
        false_non_matches=genuine - int(np.count_nonzero(accepted & same)),
        false_matches=int(np.count_nonzero(accepted & ~same)),
    )


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it reached where it was set.

    Attributes:
        target: the largest FMR allowed, in (0, 1].
        threshold: the lowest observed similarity that keeps to it; +inf when only rejecting all
            does.
        decisions: the errors there; `decisions.fmr` is the rate achieved.
    """

    target: float
    threshold: float
    decisions: Decisions

    @property
    def is_supported(self) -> bool:
        """Whether there were the 1/target impostors without which the threshold is a guess."""
        return supports(self.decisions.impostor, self.target) and math.isfinite(self.threshold)

    @property
    def has_thirty_errors(self) -> bool:
        """Whether the rate is known within 30 % with 90 % confidence, by the rule of 30.

        Paper:
            Doddington et al., Speech Communication 31(2-3), 2000; ISO/IEC 19795-1, annex B.
        """
        return self.decisions.false_matches >= ENOUGH_ERRORS


def calibrate(scores: NDArray[np.floating], same: NDArray[np.bool_], target: float) -> Calibration:
    """Find the most lenient threshold that keeps the FMR in bounds, and count what it does.

    Impostors alone are enough for that.
    """
    curve = roc(scores, same)
    threshold = float(curve.thresholds[place_of(curve, target)])
    return Calibration(target, threshold, decide(scores, same, threshold))
