"""Groups of pairs beside each other: which kind of mask costs which system how much."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mfrkit.metrics.bootstrap import Interval
from mfrkit.metrics.breakdown import RateIntervals
from mfrkit.stages.fixed_points import FixedThreshold, GroupRates
from mfrkit.stages.results import UNDEFINED, percent, scientific, with_interval
from mfrkit.stages.table import Table
from mfrkit.stages.threshold_tables import FEW, FEW_NOTE, NOWHERE, has_few

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
