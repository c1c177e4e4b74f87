"""The tables of an evaluation: figures, intervals, comparisons, error rates at fixed thresholds.

Those are one long table for programs, short ones for people, also with groups of pairs beside
each other: which kind of mask costs which system how much.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mfrkit.evaluation.intervals import Comparison
from mfrkit.evaluation.results import (
    UNDEFINED,
    SystemResult,
    columns,
    decimal,
    named_cells,
    percent,
    scientific,
    why_undefined,
    with_interval,
)
from mfrkit.evaluation.subjects import Confidence
from mfrkit.evaluation.thresholds import ENOUGH_GENUINE, THESE, UNMASKED, FixedThreshold, GroupRates
from mfrkit.metrics.bootstrap import RESAMPLES, Interval, figures_of
from mfrkit.metrics.calibration import ENOUGH_ERRORS, RateIntervals
from mfrkit.pages.table import Table

FEW = "*"  # behind a rate that rests on too few comparisons
FEW_NOTE = f"{FEW} rests on fewer than {ENOUGH_GENUINE} genuine, or 1/FMR impostor, pairs"
NOWHERE = Interval(float("nan"), float("nan"))


def threshold_rows(results: Sequence[SystemResult], level: float | None) -> Table:
    """Lay out every rate of every system in one table.

    Args:
        results: the systems.
        level: confidence of the intervals in (0, 1); None without intervals.
    """
    columns = ["system", "set on", "FMR <=", "threshold", "pairs"]
    for name, errors in (("FMR", "false matches"), ("FNMR", "false non-matches")):
        columns += [f"{name} %", *([f"{name} low %", f"{name} high %"] if level else []), errors]
    columns.append("accuracy %")
    rows = []
    for result in results:
        for fixed in result.fixed:
            found = fixed.setting.calibration
            head = [result.label, fixed.setting.origin, scientific(found.target)]
            if not fixed.rates:
                blank = ["n/a"] * (len(columns) - len(head) - 1)
                rows.append([*head, "not enough impostors", *blank])
                continue
            head.append(decimal(found.threshold, 4))
            rows += [head + _cells(rates, level) for rates in _all_rates(fixed)]
    return Table("Fixed thresholds", columns, rows, _notes(results))


def threshold_table(results: Sequence[SystemResult]) -> Table:
    """Lay out the rates of all pairs at each threshold for people; groups have their own table."""
    columns = ["system", "FMR <=", "threshold", "pairs", "FMR %", "FNMR %", "accuracy %"]
    every = [fixed for result in results for fixed in result.fixed]
    set_here = {each.setting.calibration for each in every if _is_set_here(each)}
    rows, missing = [], []
    for target in dict.fromkeys(each.setting.calibration.target for each in every):
        for result in results:
            for fixed in result.fixed:
                found = fixed.setting.calibration
                if found.target != target:
                    continue
                head = [result.label, scientific(target), decimal(found.threshold, 4)]
                rows += [
                    [
                        *head,
                        rates.group,
                        *rate_cells(rates, target),
                        percent(rates.decisions.accuracy),
                    ]
                    for rates in _all_rates(fixed)
                    if not rates.by and (rates in fixed.rates or found not in set_here)
                ]
                if not fixed.rates:
                    missing.append(
                        f"{result.label}: no threshold for FMR <= {scientific(target)}, not enough "
                        f"impostors ({found.decisions.impostor} of {math.ceil(1 / target)})"
                    )
    table = Table("Fixed thresholds", columns, rows, [*missing, *_notes(results)])
    if has_few(table):
        table.notes.append(FEW_NOTE)
    return table


def has_few(table: Table) -> bool:
    """Whether a table holds rates that rest on too few pairs."""
    return any(FEW in cell for cells in table.rows for cell in cells[1:])


def _is_set_here(fixed: FixedThreshold) -> bool:
    return fixed.setting.origin in (THESE, UNMASKED)


def _all_rates(fixed: FixedThreshold) -> tuple[GroupRates, ...]:
    """Return the rates with those of the list the threshold was set on, if that is not at hand."""
    if _is_set_here(fixed) or not fixed.rates:
        return fixed.rates
    there = GroupRates("", _pairs_of(fixed.setting.origin), fixed.setting.calibration.decisions)
    return (there, *fixed.rates)


def _pairs_of(origin: str) -> str:
    named = {THESE: THESE, UNMASKED: "the unmasked pairs"}
    return named.get(origin, f"the pairs of {origin}")


def rate_cells(rates: GroupRates, target: float) -> tuple[str, str]:
    """Return FMR and FNMR for people, with intervals if there are any, and counts.

    Args:
        rates: errors of some pairs.
        target: the FMR at which the threshold was set.
    """
    counts, ends = rates.decisions, rates.intervals or RateIntervals(NOWHERE, NOWHERE)

    def cell(value: float, enough: bool, found: Interval, errors: int, total: int) -> str:
        if not total:
            return f"{UNDEFINED}: no such pairs"
        return f"{with_interval(percent(value) + FEW * (not enough), found)} ({errors}/{total})"

    return (
        cell(counts.fmr, rates.has_enough_impostors(target), ends.fmr,
             counts.false_matches, counts.impostor),
        cell(counts.fnmr, rates.has_enough_genuine, ends.fnmr,
             counts.false_non_matches, counts.genuine),
    )  # fmt: skip


def _cells(rates: GroupRates, level: float | None) -> list[str]:
    """Return the rates for programs, a number a cell."""
    counts, ends = rates.decisions, rates.intervals or RateIntervals(NOWHERE, NOWHERE)

    def reach(found: Interval) -> list[str]:
        return [percent(found.low), percent(found.high)] if level else []

    return [
        f"{rates.by}: {rates.group}" if rates.by else rates.group,
        percent(counts.fmr), *reach(ends.fmr), f"{counts.false_matches}/{counts.impostor}",
        percent(counts.fnmr), *reach(ends.fnmr), f"{counts.false_non_matches}/{counts.genuine}",
        percent(counts.accuracy),
    ]  # fmt: skip


def _notes(results: Sequence[SystemResult]) -> list[str]:
    unsure = [
        scientific(fixed.setting.calibration.target)
        for result in results
        for fixed in result.fixed
        if fixed.rates and not fixed.setting.calibration.has_thirty_errors
    ]
    if not unsure:
        return []
    return [
        f"thresholds for FMR {', '.join(dict.fromkeys(unsure))} rest on fewer than "
        f"{ENOUGH_ERRORS} false matches (rule of 30): the rate may be off by more than 30 %"
    ]


Group = tuple[str, str]  # trait and name; two empty ones are all pairs
Found = Mapping[tuple[float, Group], GroupRates]


def group_table(
    systems: Mapping[str, Sequence[FixedThreshold]],
    rates: Sequence[str] = ("FNMR", "FMR"),
    *,
    by: str | None = None,
) -> Table:
    """Lay out the error rates of every group, a system a column; the lowest FNMR stands out.

    Args:
        systems: label -> its thresholds and their errors; those without groups are left out.
        rates: what to show, of FNMR and FMR.
        by: the one trait to group by; None for all. A trait with one value tells nothing and is
            left out.

    Returns:
        The table; without rows where nothing is grouped.
    """
    found = {label: _by_group(thresholds) for label, thresholds in systems.items()}
    found = {label: each for label, each in found.items() if any(g[0] for _, g in each)}
    targets, groups = _names(found.values(), by)
    traits = list(dict.fromkeys(trait for trait, _ in groups if trait))
    by = traits[0] if len(traits) == 1 else None
    head = [by or "group", "FMR <=", "pairs", "rate %"][: 4 if len(rates) > 1 else 3]
    rows: list[list[str]] = []
    best: set[tuple[int, int]] = set()
    for target in targets:
        for rate in rates:
            for group in groups:
                cells = [_at(each, target, group, rate) for each in found.values()]
                if not any(cells):
                    continue
                if rate == "FNMR":
                    shown = [round(100 * c.value, 2) if c and c.enough else None for c in cells]
                    best |= {(len(rows), len(head) + place) for place in best_places(shown)}
                first = [_in_words(group, by), scientific(target), _pairs(cells), rate]
                rows.append(first[: len(head)] + [_figure(cell) for cell in cells])
    table = Table(f"By {', '.join(traits)}", [*head, *found], rows, [], best=frozenset(best))
    if has_few(table):
        table.notes.append(FEW_NOTE)
    return table


def _by_group(thresholds: Iterable[FixedThreshold]) -> Found:
    return {
        (each.setting.calibration.target, _group_of(rates)): rates
        for each in thresholds
        for rates in each.rates
    }


def _group_of(rates: GroupRates) -> Group:
    """Return trait and name; all pairs, which come last, replace those of another condition."""
    return (rates.by, rates.group) if rates.by else ("", "")


def _names(found: Iterable[Found], by: str | None) -> tuple[list[float], list[Group]]:
    """Return the targets and the groups worth a row, all pairs first."""
    keys = [key for each in found for key in each]
    groups = list(dict.fromkeys(group for _, group in keys))
    traits = [trait for trait, _ in groups if by in (None, trait)]
    kept = [group for group in groups if traits.count(group[0]) > 1]
    return list(dict.fromkeys(target for target, _ in keys)), ([("", "")] if kept else []) + kept


def _in_words(group: Group, by: str | None) -> str:
    trait, name = group
    if not trait:
        return "all pairs"
    return name if by else f"{trait}: {name}"


class _Rate(NamedTuple):
    """One error rate of one group: value, pairs it rests on, whether they are enough, where."""

    value: float
    pairs: int
    enough: bool
    interval: Interval


def _rate(cell: GroupRates, rate: str, target: float) -> _Rate:
    counts, found = cell.decisions, cell.intervals or RateIntervals(NOWHERE, NOWHERE)
    if rate == "FNMR":
        enough = cell.has_enough_genuine
        return _Rate(counts.fnmr, counts.genuine, enough, found.fnmr)
    enough = cell.has_enough_impostors(target)
    return _Rate(counts.fmr, counts.impostor, enough, found.fmr)


def _at(found: Found, target: float, group: Group, rate: str) -> _Rate | None:
    cell = found.get((target, group))
    return None if cell is None else _rate(cell, rate, target)


def _pairs(cells: Sequence[_Rate | None]) -> str:
    """Return how many pairs the rates rest on; two numbers where the systems differ in that."""
    counts = [cell.pairs for cell in cells if cell is not None]
    return "-".join(map(str, sorted({min(counts), max(counts)})))


def _figure(cell: _Rate | None) -> str:
    if cell is None:
        return f"{UNDEFINED}: no threshold"
    if not cell.pairs:
        return f"{UNDEFINED}: no such pairs"
    return with_interval(percent(cell.value) + FEW * (not cell.enough), cell.interval)


def best_places(cells: Sequence[float | None], *, lowest: bool = True) -> list[int]:
    """Return where the best of several figures stands, as they are shown.

    Args:
        cells: figures, rounded as they are shown; None does not compete.
        lowest: whether low is good.

    Returns:
        All places of it; none where there is nothing to choose.

    Example:
        >>> best_places([0.5, 0.25, None, 0.25]), best_places([0.5, 0.5])
        ([1, 3], [])
    """
    competing = {cell for cell in cells if cell is not None}
    if len(competing) < 2:
        return []
    best = min(competing) if lowest else max(competing)
    return [place for place, cell in enumerate(cells) if cell == best]


_ENROLMENT = ("FTE %", "FTA %")
_COUNTED = ("pairs", "missing", *_ENROLMENT)  # by `counts_table`


def results_table(results: Sequence[SystemResult], far: Sequence[float]) -> Table:
    """Return the figures of all systems, one a row; the counts have a table of their own.

    Args:
        results: the systems.
        far: the FARs at which the TAR is reported.
    """
    names = [name for name in columns(far) if name not in _COUNTED]
    rows = [
        [result.label, *(named_cells(result, flag="*")[name] for name in names[1:])]
        for result in results
    ]
    flagged = any(cell.endswith("*") for cells in rows for cell in cells[1:])
    notes = ["* rests on fewer impostor pairs than 1/FAR"] if flagged else []
    return Table("Results", names, rows, notes)


def counts_table(results: Sequence[SystemResult]) -> Table:
    """Return what became of every pair, one system a row."""
    names = ["system", "pairs listed", "compared", "failed, one person", "failed, two people",
             "left out", "images without embedding", *_ENROLMENT]  # fmt: skip
    rows = []
    for result in results:
        genuine, impostor = result.figures.genuine, result.figures.impostor
        counts = (
            result.scores.size,
            genuine.count + impostor.count - genuine.failed - impostor.failed,
            genuine.failed,
            impostor.failed,
            result.scores.size - genuine.count - impostor.count,
            result.missing_images,
        )
        shares = named_cells(result, flag="*")
        rows.append([result.label, *map(str, counts), *(shares[name] for name in _ENROLMENT)])
    note = "Listed = compared + failed + left out. A failed comparison is never accepted."
    return Table("Counts", names, rows, [note])


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
