"""The tables that stand below the main one: intervals, and what tells systems apart."""

import math
from collections.abc import Sequence

from mfrkit.metrics.bootstrap import RESAMPLES, figures_of
from mfrkit.stages.group_tables import group_table
from mfrkit.stages.results import (
    UNDEFINED,
    SystemResult,
    decimal,
    percent,
    scientific,
    why_undefined,
)
from mfrkit.stages.subjects import Confidence
from mfrkit.stages.table import Table
from mfrkit.stages.threshold_tables import threshold_rows, threshold_table
from mfrkit.stages.uncertainty import Comparison


def further_tables(
    results: Sequence[SystemResult],
    comparisons: Sequence[Comparison],
    confidence: Confidence | None,
    for_people: bool,
) -> list[Table]:
    """Lay out whatever was measured beyond the main table.

    Args:
        results: the systems.
        comparisons: every two of them.
        confidence: how intervals were made, if they were.
        for_people: whether people read them, rather than programs.
    """
    fixed = any(result.fixed for result in results)
    tables = []
    if fixed and for_people:
        groups = group_table({result.label: result.fixed for result in results})
        tables += [groups] if groups.rows else []
        tables.append(threshold_table(results))
    if confidence is not None:
        tables.append(interval_table(results, confidence, for_people))
    if confidence is not None and comparisons:
        tables.append(comparison_table(comparisons, confidence))
    if fixed and not for_people:
        tables.append(threshold_rows(results, confidence.level if confidence else None))
    return tables


def interval_table(
    results: Sequence[SystemResult], confidence: Confidence, for_people: bool
) -> Table:
    """Lay out each figure of each system with its interval."""
    rows = []
    for result in results:
        for name, value in figures_of(result.figures).items():
            found, spelled = result.intervals[name], spell(name)
            cells = [figure(name, number) for number in (value, found.low, found.high)]
            if for_people and UNDEFINED in cells:
                reason = "too few impostor pairs"
                if math.isnan(value):
                    reason = why_undefined(result, spelled)
                cells = [f"{UNDEFINED}: {reason}" if c == UNDEFINED else c for c in cells]
            rows.append([result.label, spelled, *cells])
    return Table(
        f"{100 * confidence.level:g} % intervals",
        ["system", "figure", "value", "low", "high"],
        rows,
        [
            f"{RESAMPLES} resamples of {confidence.people.count} people, told apart by "
            f"{confidence.told_by}, seed {confidence.seed}"
        ],
    )


def comparison_table(comparisons: Sequence[Comparison], confidence: Confidence) -> Table:
    """Lay out what tells every two systems apart, as far as both have the figure."""
    rows = []
    for each in comparisons:
        for name, gap in each.differences.items():
            if math.isnan(gap.value):
                continue
            ends = (gap.value, gap.interval.low, gap.interval.high)
            rows.append(
                [each.first, each.second, f"{spell(name)}, first - second"]
                + [figure(name, number) for number in ends]
                + [probability(gap.p)]
            )
        if each.decisions is not None:
            split = f"{each.decisions.only_first}:{each.decisions.only_second}"
            what = "pairs only one decides rightly"
            p = probability(each.decisions.p)
            rows.append([each.first, each.second, what, split, "", "", p])
    return Table(
        f"Differences with {100 * confidence.level:g} % intervals",
        ["first", "second", "difference", "value", "low", "high", "p"],
        rows,
        ["p of the pairs decided rightly: exact McNemar test, which takes pairs for independent"],
    )


def spell(name: str) -> str:
    """Return a figure's name as the main table spells it.

    Example:
        >>> spell("tar@0.001"), spell("eer")
        ('TAR@1e-3 %', 'EER %')
    """
    if name.startswith("tar@"):
        return f"TAR@{scientific(float(name[4:]))} %"
    return {"accuracy": "accuracy %", "auc": "AUC", "fdr": "FDR"}.get(name, f"{name.upper()} %")


def figure(name: str, value: float) -> str:
    """Return a figure's value as the main table shows it.

    Example:
        >>> figure("eer", 0.0251), figure("auc", 0.99)
        ('2.51', '0.99000')
    """
    if name in ("auc", "fdr"):
        return decimal(value, 5 if name == "auc" else 2)
    return percent(value)


def probability(p: float) -> str:
    """Return a p value with two digits that count.

    Example:
        >>> probability(0.034), probability(0.00002), probability(1.0)
        ('0.034', '2.0e-05', '1.00')
    """
    if p < 0.001:
        return f"{p:.1e}"
    return decimal(p, 2 if p >= 0.1 else 3)
