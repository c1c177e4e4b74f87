"""Error rates at fixed thresholds as tables: one long one for programs, short ones for people."""

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
from mfrkit.stages.results import SystemResult, decimal, percent, scientific
from mfrkit.stages.table import Table

FEW = "*"  # behind a rate that rests on too few comparisons
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
            rows += [head + _cells(rates, fixed, level, False) for rates in _all_rates(fixed)]
    return Table("Fixed thresholds", columns, rows, _notes(results))


def threshold_tables(results: Sequence[SystemResult], level: float | None) -> list[Table]:
    """Lay out the rates at each threshold of each system in a table of its own.

    Args:
        results: the systems.
        level: confidence of the intervals in (0, 1); None without intervals.
    """
    sure = [f"{100 * level:g} %"] if level else []
    columns = ["pairs", "FMR %", *sure, "of", "FNMR %", *sure, "of", "accuracy %"]
    tables = []
    for result in results:
        for fixed in result.fixed:
            found, place = fixed.setting.calibration, fixed.setting.origin
            title = f"{result.label}: FMR <= {scientific(found.target)} on {_pairs_of(place)}"
            if fixed.rates:
                title += f", threshold {decimal(found.threshold, 4)}"
                rows = [_cells(rates, fixed, level, True) for rates in _all_rates(fixed)]
            else:
                needed = math.ceil(1 / found.target)
                title += f": not enough impostors, {found.decisions.impostor} of {needed}"
                rows = []
            tables.append(Table(title, columns, rows, []))
    tables[-1].notes.extend(_notes(results))
    if any(FEW in cell for table in tables for row in table.rows for cell in row):
        few = f"fewer than {ENOUGH_GENUINE} genuine, or 1/FMR impostor, pairs"
        tables[-1].notes.append(f"{FEW} rests on {few}")
    return tables


def _all_rates(fixed: FixedThreshold) -> tuple[GroupRates, ...]:
    """Return the rates with those of the list the threshold was set on, if that is not at hand."""
    origin = fixed.setting.origin
    if origin in (THESE, UNMASKED):
        return fixed.rates
    there = GroupRates("", _pairs_of(origin), fixed.setting.calibration.decisions)
    return (there, *fixed.rates)


def _pairs_of(origin: str) -> str:
    named = {THESE: THESE, UNMASKED: "the unmasked pairs"}
    return named.get(origin, f"the pairs of {origin}")


def _cells(
    rates: GroupRates, fixed: FixedThreshold, level: float | None, for_people: bool
) -> list[str]:
    counts, target = rates.decisions, fixed.setting.calibration.target
    ends = rates.intervals or RateIntervals(NOWHERE, NOWHERE)

    def cells(value: float, enough: bool, found: Interval, errors: int, total: int) -> list[str]:
        flag = FEW if for_people and not enough else ""
        reach = [percent(found.low), percent(found.high)] if level else []
        if for_people and reach:
            reach = ["n/a" if math.isnan(found.low) else "-".join(reach)]
        return [percent(value) + flag, *reach, f"{errors}/{total}"]

    return [
        f"{rates.by}: {rates.group}" if rates.by else rates.group,
        *cells(
            counts.fmr,
            rates.has_enough_impostors(target),
            ends.fmr,
            counts.false_matches,
            counts.impostor,
        ),
        *cells(
            counts.fnmr,
            rates.has_enough_genuine,
            ends.fnmr,
            counts.false_non_matches,
            counts.genuine,
        ),
        percent(counts.accuracy),
    ]


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
