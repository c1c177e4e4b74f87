"""The tables of an evaluation: figures, intervals, comparisons, error rates at fixed thresholds.

Those are one long table for programs, short ones for people, also with groups of pairs beside
each other: which kind of mask costs which system how much.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from mfrkit.evaluation.assess import Assessment, SystemComparison
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
from mfrkit.evaluation.thresholds import (
    ENOUGH_GENUINE,
    THESE,
    UNMASKED,
    FixedThreshold,
    GroupRates,
    Rate,
)
from mfrkit.metrics.bootstrap import RESAMPLES, Confidence, figures_of
from mfrkit.metrics.rates import ENOUGH_ERRORS
from mfrkit.pages.table import Table

FEW = "*"  # behind a rate that rests on too few comparisons
_ENROLMENT = ("FTE %", "FTA %")
_COUNTED = ("pairs", "missing", *_ENROLMENT)  # by `counts_table`

Group = tuple[str, str]  # trait and name; two empty ones are all pairs
Found = Mapping[tuple[float, Group], GroupRates]


def threshold_rows(results: Sequence[SystemResult], level: float | None) -> Table:
    """Lay out every rate of every system in one table, for programs; `level` of its intervals."""
    columns = ["system", "set on", "FMR <=", "threshold", "pairs"]
    for name, errors in (("FMR", "false matches"), ("FNMR", "false non-matches")):
        columns += [f"{name} %", *([f"{name} low %", f"{name} high %"] if level else []), errors]
    columns.append("accuracy %")
    rows = []
    for label, fixed in _every(results):
        found = fixed.setting.calibration
        head = [label, fixed.setting.origin, scientific(found.target)]
        if not fixed.rates:
            blank = ["n/a"] * (len(columns) - len(head) - 1)
            rows.append([*head, "not enough impostors", *blank])
        for rates in _all_rates(fixed):
            name = f"{rates.by}: {rates.group}" if rates.by else rates.group
            cells = [decimal(found.threshold, 4), name]
            for rate in (rates.fmr(found.target), rates.fnmr):
                reach = (rate.interval.low, rate.interval.high) if level else ()
                cells += [*map(percent, (rate.value, *reach)), f"{rate.errors}/{rate.pairs}"]
            rows.append([*head, *cells, percent(rates.decisions.accuracy)])
    return Table("Fixed thresholds", columns, rows, _unsure(results))


def threshold_table(results: Sequence[SystemResult]) -> Table:
    """Lay out the rates of all pairs at each threshold for people; groups have their own table."""
    columns = ["system", "FMR <=", "threshold", "pairs", "FMR %", "FNMR %", "accuracy %"]
    every = _every(results)
    set_here = {each.setting.calibration for _, each in every if _is_set_here(each)}
    targets = list(dict.fromkeys(each.setting.calibration.target for _, each in every))
    rows, missing = [], []
    for label, fixed in sorted(every, key=lambda e: targets.index(e[1].setting.calibration.target)):
        found = fixed.setting.calibration
        target = scientific(found.target)
        for rates in _all_rates(fixed):
            if not rates.by and (rates in fixed.rates or found not in set_here):
                counted = [
                    f"{_shown(rate)} ({rate.errors}/{rate.pairs})" if rate.pairs else _shown(rate)
                    for rate in (rates.fmr(found.target), rates.fnmr)
                ]
                accuracy = percent(rates.decisions.accuracy)
                threshold = decimal(found.threshold, 4)
                rows.append([label, target, threshold, rates.group, *counted, accuracy])
        if not fixed.rates:
            missing.append(
                f"{label}: no threshold for FMR <= {target}, not enough "
                f"impostors ({found.decisions.impostor} of {math.ceil(1 / found.target)})"
            )
    return _explained(Table("Fixed thresholds", columns, rows, [*missing, *_unsure(results)]))


def _every(results: Iterable[SystemResult]) -> list[tuple[str, FixedThreshold]]:
    return [(result.label, fixed) for result in results for fixed in result.fixed]


def _is_set_here(fixed: FixedThreshold) -> bool:
    return fixed.setting.origin in (THESE, UNMASKED)


def _all_rates(fixed: FixedThreshold) -> tuple[GroupRates, ...]:
    """Return the rates with those of the list the threshold was set on, if that is not at hand."""
    if _is_set_here(fixed) or not fixed.rates:
        return fixed.rates
    named = f"the pairs of {fixed.setting.origin}"
    return (GroupRates("", named, fixed.setting.calibration.decisions), *fixed.rates)


def _unsure(results: Sequence[SystemResult]) -> list[str]:
    unsure = [
        scientific(fixed.setting.calibration.target)
        for _, fixed in _every(results)
        if fixed.rates and not fixed.setting.calibration.has_thirty_errors
    ]
    if not unsure:
        return []
    return [
        f"thresholds for FMR {', '.join(dict.fromkeys(unsure))} rest on fewer than "
        f"{ENOUGH_ERRORS} false matches (rule of 30): the rate may be off by more than 30 %"
    ]


def _shown(rate: Rate | None) -> str:
    """Return a rate for people, with its interval if there is one."""
    if rate is None:
        return f"{UNDEFINED}: no threshold"
    if not rate.pairs:
        return f"{UNDEFINED}: no such pairs"
    return with_interval(percent(rate.value) + FEW * (not rate.enough), rate.interval)


def _explained(table: Table) -> Table:
    """Say below a table what its flags mean, if it has any."""
    if any(FEW in cell for cells in table.rows for cell in cells[1:]):
        few = f"{FEW} rests on fewer than {ENOUGH_GENUINE} genuine, or 1/FMR impostor, pairs"
        table.notes.append(few)
    return table


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
    every = {label: _by_group(thresholds) for label, thresholds in systems.items()}
    found = {label: each for label, each in every.items() if any(g[0] for _, g in each)}
    targets, groups = _names(found.values(), by)
    traits = list(dict.fromkeys(trait for trait, _ in groups if trait))
    only = len(traits) == 1
    head = [traits[0] if only else "group", "FMR <=", "pairs", "rate %"]
    head = head[: 4 if len(rates) > 1 else 3]
    rows: list[list[str]] = []
    best: set[tuple[int, int]] = set()
    for target in targets:
        for name in rates:
            for trait, group in groups:
                cells = [_at(each, target, (trait, group), name) for each in found.values()]
                if not any(cells):
                    continue
                if name == "FNMR":
                    shown = [round(100 * c.value, 2) if c and c.enough else None for c in cells]
                    best |= {(len(rows), len(head) + place) for place in best_places(shown)}
                words = (group if only else f"{trait}: {group}") if trait else "all pairs"
                first = [words, scientific(target), _pairs(cells), name][: len(head)]
                rows.append([*first, *map(_shown, cells)])
    title = f"By {', '.join(traits)}"
    return _explained(Table(title, [*head, *found], rows, [], best=frozenset(best)))


def _by_group(thresholds: Iterable[FixedThreshold]) -> Found:
    """Return rates by target and group; all pairs, which come last, replace other conditions'."""
    return {
        (each.setting.calibration.target, (rates.by, rates.group if rates.by else "")): rates
        for each in thresholds
        for rates in each.rates
    }


def _names(found: Iterable[Found], by: str | None) -> tuple[list[float], list[Group]]:
    """Return the targets and the groups worth a row, all pairs first."""
    keys = [key for each in found for key in each]
    groups = list(dict.fromkeys(group for _, group in keys))
    traits = [trait for trait, _ in groups if by in (None, trait)]
    kept = [group for group in groups if traits.count(group[0]) > 1]
    return list(dict.fromkeys(target for target, _ in keys)), ([("", "")] if kept else []) + kept


def _at(found: Found, target: float, group: Group, name: str) -> Rate | None:
    rates = found.get((target, group))
    if rates is None:
        return None
    return rates.fnmr if name == "FNMR" else rates.fmr(target)


def _pairs(cells: Sequence[Rate | None]) -> str:
    """Return how many pairs the rates rest on; two numbers where the systems differ in that."""
    counts = [cell.pairs for cell in cells if cell is not None]
    return "-".join(map(str, sorted({min(counts), max(counts)})))


def best_places(cells: Sequence[float | None], *, lowest: bool = True) -> list[int]:
    """Return all places of the best of several figures; none where there is nothing to choose.

    Figures are rounded as they are shown; None does not compete.
    """
    competing = {cell for cell in cells if cell is not None}
    if len(competing) < 2:
        return []
    best = min(competing) if lowest else max(competing)
    return [place for place, cell in enumerate(cells) if cell == best]


def results_table(results: Sequence[SystemResult], far: Sequence[float]) -> Table:
    """Return the figures of all systems, one a row; the counts have a table of their own."""
    names = [name for name in columns(far) if name not in _COUNTED]
    rows = [
        [result.label, *(named_cells(result, flag=FEW)[name] for name in names[1:])]
        for result in results
    ]
    flagged = any(cell.endswith(FEW) for cells in rows for cell in cells[1:])
    notes = [f"{FEW} rests on fewer impostor pairs than 1/FAR"] if flagged else []
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
        shares = named_cells(result, flag=FEW)
        rows.append([result.label, *map(str, counts), *(shares[name] for name in _ENROLMENT)])
    note = "Listed = compared + failed + left out. A failed comparison is never accepted."
    return Table("Counts", names, rows, [note])


def further_tables(found: Assessment, *, for_people: bool) -> list[Table]:
    """Lay out whatever was measured beyond the main table, for people or for programs."""
    results, confidence = found.results, found.confidence
    fixed = any(result.fixed for result in results)
    tables = []
    if fixed and for_people:
        groups = group_table({result.label: result.fixed for result in results})
        tables += [groups] if groups.rows else []
        tables.append(threshold_table(results))
    if confidence is not None:
        tables.append(_interval_table(results, confidence, for_people))
        if found.comparisons:
            tables.append(_comparison_table(found.comparisons, confidence))
    if fixed and not for_people:
        tables.append(threshold_rows(results, confidence.level if confidence else None))
    return tables


def _interval_table(
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
    note = (
        f"{RESAMPLES} resamples of {confidence.people.count} people, told apart by "
        f"{confidence.told_by}, seed {confidence.seed}"
    )
    columns = ["system", "figure", "value", "low", "high"]
    return Table(f"{100 * confidence.level:g} % intervals", columns, rows, [note])


def _comparison_table(comparisons: Sequence[SystemComparison], confidence: Confidence) -> Table:
    """Lay out what tells every two systems apart, as far as both have the figure."""
    rows = []
    for each in comparisons:
        for name, gap in each.differences.items():
            if not math.isnan(gap.value):
                ends = (gap.value, gap.interval.low, gap.interval.high)
                cells = [*(figure(name, number) for number in ends), _probability(gap.p)]
                rows.append([each.first, each.second, f"{spell(name)}, first - second", *cells])
        if each.decisions is not None:
            split = f"{each.decisions.only_first}:{each.decisions.only_second}"
            what = "pairs only one decides rightly"
            p = _probability(each.decisions.p)
            rows.append([each.first, each.second, what, split, "", "", p])
    return Table(
        f"Differences with {100 * confidence.level:g} % intervals",
        ["first", "second", "difference", "value", "low", "high", "p"],
        rows,
        ["p of the pairs decided rightly: exact McNemar test, which takes pairs for independent"],
    )


def spell(name: str) -> str:
    """Return a figure's name as the main table spells it: `TAR@1e-3 %` for `tar@0.001`."""
    if name.startswith("tar@"):
        return f"TAR@{scientific(float(name[4:]))} %"
    return {"accuracy": "accuracy %", "auc": "AUC", "fdr": "FDR"}.get(name, f"{name.upper()} %")


def figure(name: str, value: float) -> str:
    """Return a figure's value as the main table shows it."""
    if name in ("auc", "fdr"):
        return decimal(value, 5 if name == "auc" else 2)
    return percent(value)


def _probability(p: float) -> str:
    """Return a p value with two digits that count: `0.034`, `2.0e-05`, `1.00`."""
    if p < 0.001:
        return f"{p:.1e}"
    return decimal(p, 2 if p >= 0.1 else 3)
