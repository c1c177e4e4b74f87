"""The tables that stand below the main one: intervals, and what tells systems apart."""

from collections.abc import Sequence

from mfrkit.metrics.bootstrap import RESAMPLES, figures_of
from mfrkit.stages.results import SystemResult, decimal, percent, scientific
from mfrkit.stages.subjects import Confidence
from mfrkit.stages.table import Table
from mfrkit.stages.threshold_tables import threshold_rows, threshold_tables
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
    tables = []
    if confidence is not None:
        tables.append(interval_table(results, confidence))
    if confidence is not None and comparisons:
        tables.append(comparison_table(comparisons, confidence))
    if any(result.fixed for result in results):
        level = confidence.level if confidence else None
        if for_people:
            tables += threshold_tables(results, level)
        else:
            tables.append(threshold_rows(results, level))
    return tables


def interval_table(results: Sequence[SystemResult], confidence: Confidence) -> Table:
    """Lay out each figure of each system with its interval."""
    rows = []
    for result in results:
        for name, value in figures_of(result.figures).items():
            found = result.intervals[name]
            rows.append(
                [result.label, _spell(name)]
                + [_figure(name, number) for number in (value, found.low, found.high)]
            )
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
    """Lay out what tells every two systems apart."""
    rows = []
    for each in comparisons:
        for name, gap in each.differences.items():
            ends = (gap.value, gap.interval.low, gap.interval.high)
            rows.append(
                [each.first, each.second, f"{_spell(name)}, first - second"]
                + [_figure(name, number) for number in ends]
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


def _spell(name: str) -> str:
    """Return a figure's name as the main table spells it."""
    if name.startswith("tar@"):
        return f"TAR@{scientific(float(name[4:]))} %"
    return {"accuracy": "accuracy %", "auc": "AUC", "fdr": "FDR"}.get(name, f"{name.upper()} %")


def _figure(name: str, value: float) -> str:
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
