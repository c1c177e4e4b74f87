"""One threshold for use: set where so many false matches are seen, applied anywhere.

Where it is applied, groups of pairs have error rates of their own, with intervals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.metrics.bootstrap import Interval, PairSubjects, draw_weights, interval
from mfrkit.metrics.rates import Floats, check_scores, place_of, roc, share, supports

ENOUGH_ERRORS = 30


@dataclass(frozen=True)
class Decisions:
    """What a threshold decides for a set of comparisons.

    Attributes:
        genuine: comparisons of one person, failed ones included.
        impostor: comparisons of two people, likewise.
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
    """Count the errors of one threshold.

    Args:
        scores: (P,) float, similarities; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.
        threshold: accepted are scores of at least this much; +inf rejects all.

    Raises:
        ShapeError: arrays of different lengths, or labels that are not bool.
        InputError: a NaN or +inf score.

    Example:
        >>> decide(np.array([0.9, 0.4, 0.6]), np.array([True, True, False]), 0.5)
        Decisions(genuine=2, impostor=1, false_non_matches=1, false_matches=1)
    """
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

    Args:
        scores: (P,) float, similarities; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.
        target: the largest FMR allowed, in (0, 1].

    Raises:
        ShapeError: arrays of different lengths, or labels that are not bool.
        InputError: a NaN or +inf score, or a target outside (0, 1].

    Example:
        >>> same = np.array([True, True, False, False])
        >>> found = calibrate(np.array([0.9, 0.4, 0.3, 0.1]), same, 0.5)
        >>> found.threshold, found.decisions.fmr, found.decisions.fnmr
        (0.3, 0.5, 0.0)
    """
    curve = roc(scores, same)
    threshold = float(curve.thresholds[place_of(curve, target)])
    return Calibration(target, threshold, decide(scores, same, threshold))


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What was decided for each pair, and the group it belongs to.

    Attributes:
        same: (P,) bool, whether the two images show one person.
        accepted: (P,) bool, whether the threshold takes them for one.
        group: (P,) int64 from 0 to G - 1, or G for a pair that is left out.
        groups: G.
    """

    same: NDArray[np.bool_]
    accepted: NDArray[np.bool_]
    group: NDArray[np.int64]
    groups: int

    def count(self, weights: Floats) -> Floats:
        """Return (R, G, 2, 2) weights of each group's pairs: not same or same, rejected or not.

        Args:
            weights: (R, P) float64, how often each pair counts.
        """
        cells = (self.group * 2 + self.same) * 2 + self.accepted
        width = 4 * (self.groups + 1)
        rows = np.arange(len(weights))[:, None] * width
        places = (rows + cells).ravel()
        counts = np.bincount(places, weights.ravel(), minlength=len(weights) * width)
        shape = (len(weights), self.groups + 1, 2, 2)
        return np.asarray(counts, dtype=np.float64).reshape(shape)[:, :-1]

    def decisions(self) -> list[Decisions]:
        """Count each group's comparisons and errors.

        Example:
            >>> yes, first = np.array([True]), np.array([0])
            >>> Outcomes(yes, ~yes, first, 1).decisions()
            [Decisions(genuine=1, impostor=0, false_non_matches=1, false_matches=0)]
        """
        counts = self.count(np.ones((1, self.same.size)))[0].astype(int)
        return [
            Decisions(
                genuine=int(cell[1].sum()),
                impostor=int(cell[0].sum()),
                false_non_matches=int(cell[1, 0]),
                false_matches=int(cell[0, 1]),
            )
            for cell in counts
        ]


@dataclass(frozen=True)
class RateIntervals:
    """Where the two error rates of one group lie."""

    fmr: Interval
    fnmr: Interval


def rate_intervals(
    tables: Sequence[Outcomes], subjects: PairSubjects, level: float, seed: int = 0
) -> list[list[RateIntervals]]:
    """Bootstrap the error rates of every group over people.

    Convention:
        Percentile intervals. A rate of exactly 0 or 1 does not move in any resample; its interval
        is the exact binomial one (Clopper and Pearson, Biometrika 26, 1934) for as many trials
        as there are people, or for impostors disjoint couples of people: the careful form of
        ISO/IEC 19795-1's rule of three.

    Args:
        tables: outcomes for the same P pairs, with thresholds and groups of their own.
        subjects: the people of the P pairs.
        level: confidence in (0, 1).
        seed: of the draws, shared by all tables.

    Returns:
        For each table, the intervals of its G groups; NaN where a group has no such pairs.

    Example:
        >>> people = PairSubjects(np.arange(20), np.arange(20), count=20)
        >>> same, group = np.ones(20, dtype=bool), np.zeros(20, dtype=np.int64)
        >>> found = rate_intervals([Outcomes(same, same, group, 1)], people, 0.95)[0][0].fnmr
        >>> found.low, round(found.high, 3)
        (0.0, 0.168)
    """
    counts: list[list[Floats]] = [[] for _ in tables]
    for weights in draw_weights(subjects, seed=seed):
        for parts, table in zip(counts, tables, strict=True):
            parts.append(table.count(weights))
    return [
        _of_table(np.concatenate(parts), table, subjects, level)
        for parts, table in zip(counts, tables, strict=True)
    ]


def _of_table(
    counts: Floats, table: Outcomes, subjects: PairSubjects, level: float
) -> list[RateIntervals]:
    fmr = share(counts[:, :, 0, 1], counts[:, :, 0].sum(axis=-1))  # (R, G)
    fnmr = share(counts[:, :, 1, 0], counts[:, :, 1].sum(axis=-1))
    found = []
    for place, seen in enumerate(table.decisions()):
        inside = table.group == place
        couples = _people(inside & ~table.same, subjects) // 2
        people = _people(inside & table.same, subjects)
        found.append(
            RateIntervals(
                fmr=_interval(fmr[:, place], seen.fmr, couples, level),
                fnmr=_interval(fnmr[:, place], seen.fnmr, people, level),
            )
        )
    return found


def _people(chosen: NDArray[np.bool_], subjects: PairSubjects) -> int:
    return np.unique([subjects.first[chosen], subjects.second[chosen]]).size


def _interval(samples: Floats, rate: float, trials: int, level: float) -> Interval:
    if rate not in (0.0, 1.0):
        return interval(samples, level)
    reach = 1 - ((1 - level) / 2) ** (1 / max(1, trials))
    return Interval(0.0, reach) if rate == 0 else Interval(1 - reach, 1.0)
