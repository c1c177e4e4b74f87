"""Intervals for every system's figures, and paired tests between systems."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from mfrkit.evaluation.results import SystemResult, finite
from mfrkit.evaluation.subjects import Confidence
from mfrkit.io.pairs import PairList
from mfrkit.metrics.bootstrap import (
    RESAMPLES,
    Difference,
    Interval,
    McNemar,
    bootstrap,
    difference,
    figures_of,
    interval,
    mcnemar,
    tar_name,
)
from mfrkit.metrics.rates import Floats
from mfrkit.metrics.verification import fold_decisions

COMPARED = ("accuracy", "eer")


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same pairs.

    Attributes:
        first: label of the one.
        second: label of the other.
        differences: first minus second, for each of `COMPARED`.
        decisions: McNemar's test on the decisions behind the accuracy; None with one fold.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]
    decisions: McNemar | None


def quantify(
    pairs: PairList, results: Sequence[SystemResult], confidence: Confidence | None
) -> tuple[list[SystemResult], list[Comparison]]:
    """Give each system's figures intervals, and test every two systems against each other.

    Args:
        pairs: the list.
        results: the systems.
        confidence: how intervals are made; None for none.

    Returns:
        The results with intervals, and a comparison of every two scored on the same pairs.
    """
    if confidence is None:
        return list(results), []
    samples = [_resample(pairs, result, confidence) for result in results]
    with_intervals = [
        replace(result, intervals=_intervals(result, draws, confidence.level))
        for result, draws in zip(results, samples, strict=True)
    ]
    comparisons = [
        _compare(pairs, one, other, confidence.level)
        for one, other in combinations(zip(with_intervals, samples, strict=True), 2)
        if np.array_equal(one[0].counted, other[0].counted)
    ]
    return with_intervals, comparisons


def _resample(pairs: PairList, result: SystemResult, confidence: Confidence) -> dict[str, Floats]:
    """Return the (R,) values each figure of a system takes over the resamples."""
    kept = result.counted
    return bootstrap(
        result.scores[kept],
        pairs.same[kept],
        pairs.fold[kept],
        confidence.people_of(kept),
        [point.target for point in result.figures.tar],
        seed=confidence.seed,
    )


def _intervals(
    result: SystemResult, samples: Mapping[str, Floats], level: float
) -> dict[str, Interval]:
    """Return each figure's interval, none where the figure itself is only a guess."""
    figures = result.figures
    points = {"fmr100": figures.fmr100, "fmr1000": figures.fmr1000}
    points |= {tar_name(point.target): point for point in figures.tar}
    guesses = {name for name, point in points.items() if not point.enough_impostors}
    nowhere = np.full(1, np.nan)
    return {
        name: interval(nowhere if name in guesses else values, level)
        for name, values in samples.items()
    }


def _compare(
    pairs: PairList,
    one: tuple[SystemResult, Mapping[str, Floats]],
    other: tuple[SystemResult, Mapping[str, Floats]],
    level: float,
) -> Comparison:
    (first, draws_a), (second, draws_b) = one, other
    a, b, kept = figures_of(first.figures), figures_of(second.figures), first.counted
    decisions = None
    if first.figures.accuracy.folds:
        right = [
            fold_decisions(each.scores[kept], pairs.same[kept], pairs.fold[kept])
            for each in (first, second)
        ]
        decisions = mcnemar(*right)
    return Comparison(
        first.label,
        second.label,
        {n: difference(a[n] - b[n], draws_a[n], draws_b[n], level) for n in COMPARED},
        decisions,
    )


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as a plain object."""
    found = comparison.decisions
    return {
        "first": comparison.first,
        "second": comparison.second,
        **{name: finite(asdict(gap)) for name, gap in comparison.differences.items()},
        "mcnemar": None if found is None else asdict(found),
    }


def confidence_record(confidence: Confidence) -> dict[str, Any]:
    """Return how the intervals were made as a plain object."""
    return {
        "level": confidence.level,
        "resamples": RESAMPLES,
        "seed": confidence.seed,
        "people": confidence.people.count,
        "told_apart_by": confidence.told_by,
    }
