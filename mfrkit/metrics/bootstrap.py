"""How far the figures of a pair list would move with other people, and who beats whom for sure.

Pairs that share a person are not independent, so people are drawn with replacement rather than
pairs. A pair counts as often as its person was drawn; a pair of two people as often as the one
times the other. Two systems are compared on the same pairs and the same draws.

Paper:
    Bolle, Ratha, Pankanti, CVIU 93(1), 2004 (subsets instead of single comparisons); Owen, Annals
    of Applied Statistics 1(2), 2007 (the product of multiplicities for crossed factors).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.rates import (
    Decisions,
    Floats,
    area,
    check_scores,
    descending,
    meeting,
    most_lenient,
    share,
)
from mfrkit.metrics.verification import FoldGrid, Verification

RESAMPLES = 1000
_BLOCK_VALUES = 2**17  # weights held at a time; small enough to stay in the processor's cache


@dataclass(frozen=True, eq=False)
class PairSubjects:
    """Who is on the two images of each pair: (P,) int64 numbers of `count` people, from 0."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    count: int


@dataclass(frozen=True)
class Interval:
    """Where a figure lies with a stated confidence; both ends NaN where it is undefined."""

    low: float
    high: float


NOWHERE = Interval(float("nan"), float("nan"))


def draw_weights(
    subjects: PairSubjects, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[Floats]:
    """Draw people with replacement, again and again, and yield how often each pair counts.

    Convention:
        The same seed and number of people give the same draws, so that two systems, or two
        figures of one, can be compared resample by resample.

    Yields:
        (R, P) float64 whole numbers; the blocks' R add up to `resamples`.

    Raises:
        InputError: nobody to draw from, or no resamples.
    """
    if subjects.count < 1 or resamples < 1:
        raise InputError("a bootstrap needs people to draw from and at least one resample")
    people = subjects.count
    # One person on both images counts once: the second factor is then the column of ones.
    second = np.where(subjects.first == subjects.second, people, subjects.second)
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK_VALUES // max(people, subjects.first.size))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = random.integers(people, size=(rows, people)) + np.arange(rows)[:, None] * people
        times = np.ones((rows, people + 1))
        times[:, :-1] = np.bincount(drawn.ravel(), minlength=rows * people).reshape(rows, people)
        yield times[:, subjects.first] * times[:, second]


def figures_of(result: Verification) -> dict[str, float]:
    """Return the figures that have intervals, by the names `bootstrap` uses."""
    return {
        "accuracy": result.accuracy.mean,
        "eer": result.eer.rate,
        "fmr100": result.fmr100.fnmr,
        "fmr1000": result.fmr1000.fnmr,
        **{tar_name(point.target): point.tar for point in result.tar},
        "auc": result.auc,
        "fdr": result.fdr,
    }


def tar_name(far: float) -> str:
    """Return what the TAR at a FAR is called among the figures: `tar@0.001`."""
    return f"tar@{far:g}"


def bootstrap(
    scores: NDArray[np.floating],
    same: NDArray[np.bool_],
    fold: NDArray[np.integer],
    subjects: PairSubjects,
    far: Sequence[float] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Measure a scored pair list as `verify` does, on each resample of its people.

    Args:
        scores: (P,) float, cosine similarities in [-1, 1]; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.
        fold: (P,) int, the fold of each pair.
        subjects: the people of the P pairs.
        far: FARs in (0, 1] at which the TAR is wanted.
        resamples: R, how often to draw.
        seed: of the draws.

    Returns:
        (R,) values of each figure, named as by `figures_of`; NaN in a resample that lacks one
        kind of pair.
    """
    scores = check_scores(scores, same)
    if scores.shape != subjects.first.shape:
        raise ShapeError(f"{scores.size} scores, but the people of {subjects.first.size} pairs")
    order, last = descending(scores)  # sorted once: a resample only changes the weights
    sorted_people = PairSubjects(subjects.first[order], subjects.second[order], subjects.count)
    grid = FoldGrid.of(scores[order], same[order], fold[order])
    parts = [
        _measure(weights, scores[order], same[order], last, grid, far)
        for weights in draw_weights(sorted_people, resamples, seed)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure(
    weights: Floats,
    scores: Floats,
    same: NDArray[np.bool_],
    last: NDArray[np.intp],
    grid: FoldGrid,
    far: Sequence[float],
) -> dict[str, Floats]:
    """Return all figures for R weightings of pairs sorted from strict to lenient."""
    genuine = weights * same
    impostor = weights - genuine
    tar, fmr = _curve(genuine, last), _curve(impostor, last)
    fnmr = 1.0 - tar

    def fnmr_at(target: float) -> Floats:
        place = most_lenient(fmr, target)[:, None]
        values = np.take_along_axis(fnmr, place, 1)[:, 0]
        return np.where(np.isnan(fmr[:, -1]), np.nan, values)

    return {
        "accuracy": _mean_of_folds(grid, weights),
        "eer": meeting(fmr, fnmr)[0],
        "fmr100": fnmr_at(0.01),
        "fmr1000": fnmr_at(0.001),
        **{tar_name(target): 1.0 - fnmr_at(target) for target in far},
        "auc": area(fmr, tar),
        "fdr": _fisher_ratios(genuine, impostor, scores),
    }


def _curve(weights: Floats, last: NDArray[np.intp]) -> Floats:
    """Return the (R, L + 1) shares accepted at each level, NaN where nothing has weight."""
    accepted = weights.cumsum(axis=1)
    shares = np.zeros((len(weights), last.size + 1))
    shares[:, 1:] = share(accepted[:, last], accepted[:, -1:])
    shares[accepted[:, -1] == 0] = np.nan
    return shares


def _mean_of_folds(grid: FoldGrid, weights: Floats) -> Floats:
    """Return (R,) means over the folds that have weight; NaN with fewer than two folds."""
    if grid.folds.size < 2:
        return np.full(len(weights), np.nan)
    accuracies, _ = grid.accuracies(weights)
    filled = np.isfinite(accuracies)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(filled, accuracies, 0.0).sum(axis=1) / filled.sum(axis=1))


def _fisher_ratios(genuine: Floats, impostor: Floats, scores: Floats) -> Floats:
    finite = np.isfinite(scores)
    if not finite.any():
        return np.full(len(genuine), np.nan)
    centred = np.where(finite, scores - scores[finite].mean(), 0.0)  # keeps digits in the variance
    powers = np.stack([finite, centred, centred**2], axis=1)  # (P, 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = [kind @ powers for kind in (genuine, impostor)]
        means = [each[:, 1] / each[:, 0] for each in moments]
        variances = [each[:, 2] / each[:, 0] - m**2 for each, m in zip(moments, means, strict=True)]
        return np.asarray((means[0] - means[1]) ** 2 / (variances[0] + variances[1]))


def interval(samples: Floats, level: float) -> Interval:
    """Return the percentile interval of (R,) resamples of a figure, at a level in (0, 1).

    Values that are not finite (a resample without impostors, say) are left out.
    """
    finite = samples[np.isfinite(samples)]
    if not finite.size:
        return NOWHERE
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


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
    """
    gaps = first - second
    gaps = gaps[np.isfinite(gaps)]
    turned = min(np.count_nonzero(gaps <= 0), np.count_nonzero(gaps >= 0))
    p = min(1.0, 2 * (1 + turned) / (1 + gaps.size)) if gaps.size else float("nan")
    return Difference(value, interval(gaps, level), float(p))


@dataclass(frozen=True, eq=False)
class Confidence:
    """How intervals are made: whom the draws are from, and how sure to be.

    Attributes:
        level: confidence in (0, 1).
        seed: of the draws.
        people: who is on the images of the P pairs.
        told_by: how they were told apart: `names`, or `genuine pairs` that join images.
    """

    level: float
    seed: int
    people: PairSubjects
    told_by: str

    def people_of(self, chosen: NDArray[np.bool_]) -> PairSubjects:
        """Return who is on some of the pairs; the draws stay those for all of them."""
        people = self.people
        return PairSubjects(people.first[chosen], people.second[chosen], people.count)


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

        The (R, P) float64 weights say how often each pair counts.
        """
        cells = (self.group * 2 + self.same) * 2 + self.accepted
        width = 4 * (self.groups + 1)
        rows = np.arange(len(weights))[:, None] * width
        places = (rows + cells).ravel()
        counts = np.bincount(places, weights.ravel(), minlength=len(weights) * width)
        shape = (len(weights), self.groups + 1, 2, 2)
        return np.asarray(counts, dtype=np.float64).reshape(shape)[:, :-1]

    def decisions(self) -> list[Decisions]:
        """Count each group's comparisons and errors."""
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


def rate_intervals(tables: Sequence[Outcomes], confidence: Confidence) -> list[list[RateIntervals]]:
    """Bootstrap the error rates of every group over people.

    Convention:
        Percentile intervals. A rate of exactly 0 or 1 does not move in any resample; its interval
        is the exact binomial one (Clopper and Pearson, Biometrika 26, 1934) for as many trials
        as there are people, or for impostors disjoint couples of people: the careful form of
        ISO/IEC 19795-1's rule of three.

    Args:
        tables: outcomes for the same P pairs, with thresholds and groups of their own.
        confidence: how sure to be, and whom to draw; the draws are shared by all tables.

    Returns:
        For each table, the intervals of its G groups; NaN where a group has no such pairs.
    """
    counts: list[list[Floats]] = [[] for _ in tables]
    for weights in draw_weights(confidence.people, seed=confidence.seed):
        for parts, table in zip(counts, tables, strict=True):
            parts.append(table.count(weights))
    return [
        _of_table(np.concatenate(parts), table, confidence)
        for parts, table in zip(counts, tables, strict=True)
    ]


def _of_table(counts: Floats, table: Outcomes, confidence: Confidence) -> list[RateIntervals]:
    fmr = share(counts[:, :, 0, 1], counts[:, :, 0].sum(axis=-1))  # (R, G)
    fnmr = share(counts[:, :, 1, 0], counts[:, :, 1].sum(axis=-1))
    found = []
    for place, seen in enumerate(table.decisions()):
        inside, level = table.group == place, confidence.level
        couples = _people(inside & ~table.same, confidence.people) // 2
        people = _people(inside & table.same, confidence.people)
        ends = RateIntervals(
            fmr=_interval(fmr[:, place], seen.fmr, couples, level),
            fnmr=_interval(fnmr[:, place], seen.fnmr, people, level),
        )
        found.append(ends)
    return found


def _people(chosen: NDArray[np.bool_], subjects: PairSubjects) -> int:
    return np.unique([subjects.first[chosen], subjects.second[chosen]]).size


def _interval(samples: Floats, rate: float, trials: int, level: float) -> Interval:
    if rate not in (0.0, 1.0):
        return interval(samples, level)
    reach = 1 - ((1 - level) / 2) ** (1 / max(1, trials))
    return Interval(0.0, reach) if rate == 0 else Interval(1 - reach, 1.0)
