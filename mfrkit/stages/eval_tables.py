"""The tables that stand below the main one: intervals, comparisons, fixed thresholds."""

from collections.abc import Sequence
from typing import NamedTuple

from mfrkit.metrics.bootstrap import RESAMPLES, Interval, figures_of
from mfrkit.metrics.calibration import ENOUGH_ERRORS
from mfrkit.stages.fixed_points import (
    ENOUGH_GENUINE,
    THESE,
    UNMASKED,
    FixedThreshold,
    GroupRates,
)
from mfrkit.stages.results import SystemResult, decimal, percent, scientific
from mfrkit.stages.subjects import Confidence
from mfrkit.stages.uncertainty import Comparison


class Table(NamedTuple):
    """A table of text.

    Attributes:
        title: what it shows.
        columns: a name for each column.
        rows: cells as text, one for each column.
        notes: what to know when reading it.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


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
        for_people: whether figures that rest on too few comparisons get an asterisk.
    """
    tables = []
    if confidence is not None:
        tables.append(interval_table(results, confidence))
    if confidence is not None and comparisons:
        tables.append(comparison_table(comparisons, confidence))
    if any(result.fixed for result in results):
        tables.append(threshold_table(results, "*" if for_people else ""))
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


def threshold_table(results: Sequence[SystemResult], flag: str) -> Table:
    """Lay out the error rates at thresholds fixed beforehand.

    Args:
        results: the systems.
        flag: appended to rates that rest on too few comparisons.
    """
    with_ends = any(result.intervals for result in results)
    rows = [
        line
        for result in results
        for fixed in result.fixed
        for line in _threshold_rows(result.label, fixed, with_ends, flag)
    ]
    columns = ["system", "set on", "FMR <=", "threshold", "pairs"]
    for name, errors in (("FMR", "false matches"), ("FNMR", "false non-matches")):
        columns += [f"{name} %", errors]
        columns += [f"{name} low %", f"{name} high %"] if with_ends else []
    notes = _threshold_notes(results, flag)
    return Table("Fixed thresholds", [*columns, "accuracy %"], rows, notes)


def _threshold_rows(
    label: str, fixed: FixedThreshold, with_ends: bool, flag: str
) -> list[list[str]]:
    setting, found = fixed.setting, fixed.setting.calibration
    head = [label, setting.origin, scientific(found.target)]
    if not fixed.rates:
        impostors = f"{found.decisions.impostor} impostor pairs"
        blank = ["n/a", "", *(["n/a"] * 2 if with_ends else [])]
        return [[*head, "not enough impostors", impostors, *blank, *blank, "n/a"]]
    head.append(decimal(found.threshold, 4))
    rates = fixed.rates
    if setting.origin not in (THESE, UNMASKED):  # a file: its own list is not at hand
        rates = (GroupRates("", f"on {setting.origin}'s list", found.decisions), *rates)
    return [[*head, *_rate_cells(each, found.target, with_ends, flag)] for each in rates]


def _rate_cells(rates: GroupRates, target: float, with_ends: bool, flag: str) -> list[str]:
    counts = rates.decisions
    nowhere = Interval(float("nan"), float("nan"))
    cells = [f"{rates.by}: {rates.group}" if rates.by else rates.group]
    for value, errors, total, enough, ends in (
        (
            counts.fmr,
            counts.false_matches,
            counts.impostor,
            rates.has_enough_impostors(target),
            rates.intervals.fmr if rates.intervals else nowhere,
        ),
        (
            counts.fnmr,
            counts.false_non_matches,
            counts.genuine,
            rates.has_enough_genuine,
            rates.intervals.fnmr if rates.intervals else nowhere,
        ),
    ):
        cells += [percent(value) + ("" if enough else flag), f"{errors}/{total}"]
        cells += [percent(ends.low), percent(ends.high)] if with_ends else []
    return [*cells, percent(counts.accuracy)]


def _threshold_notes(results: Sequence[SystemResult], flag: str) -> list[str]:
    notes = []
    each = [fixed for result in results for fixed in result.fixed]
    few = [
        rates
        for fixed in each
        for rates in fixed.rates
        if not (
            rates.has_enough_genuine
            and rates.has_enough_impostors(fixed.setting.calibration.target)
        )
    ]
    if flag and few:
        notes.append(
            f"{flag} rests on fewer than {ENOUGH_GENUINE} genuine, or 1/FMR impostor, pairs"
        )
    unsure = [f for f in each if f.rates and not f.setting.calibration.has_thirty_errors]
    if unsure:
        rates = ", ".join(dict.fromkeys(scientific(f.setting.calibration.target) for f in unsure))
        notes.append(
            f"thresholds for FMR {rates} rest on fewer than {ENOUGH_ERRORS} false matches "
            "(rule of 30): the rate may be off by more than 30 %"
        )
    return notes


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
    if p >= 0.1:
        return f"{p:.2f}"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
