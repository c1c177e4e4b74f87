"""Error rates of groups of pairs at one threshold for all, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.metrics.bootstrap import Interval, PairSubjects, draw_weights, interval
from mfrkit.metrics.calibration import Decisions
from mfrkit.metrics.roc import Floats, share


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
