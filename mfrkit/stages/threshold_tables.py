"""Error rates at fixed thresholds as tables: all of them for programs, fewer for people."""

import math
from collections.abc import Sequence

from mfrkit.metrics.bootstrap import Interval
from mfrkit.metrics.breakdown import RateIntervals
from mfrkit.metrics.calibration import ENOUGH_ERRORS
from mfrkit.stages.fixed_points import (
    ENOUGH_GENUINE,
    THESE,
    UNMASKED,
    FixedThreshold,
    GroupRates,
)
from mfrkit.stages.results import (
    UNDEFINED,
    SystemResult,
    decimal,
    percent,
    scientific,
    with_interval,
)
from mfrkit.stages.table import Table

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
