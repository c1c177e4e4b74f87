r"""A benchmark's results as tables for a paper: models by conditions, kinds of mask by models.

They are made from `results.json`, so that a finished benchmark is tabulated again in no time.
LaTeX tables are a `tabular` each, for `\input` below a caption; they need the package booktabs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.benchmark_options import BenchmarkOptions, far_in
from mfrkit.evaluation.results import UNDEFINED
from mfrkit.evaluation.tables import FEW, best_places, figure, group_table, spell
from mfrkit.evaluation.thresholds import interval_from_record, threshold_from_record
from mfrkit.io.documents import read_json_object
from mfrkit.io.files import write_whole
from mfrkit.metrics.bootstrap import tar_name
from mfrkit.pages.table import Table, render

CONDITIONS = UNMASKED, PROBE, BOTH = "unmasked", "probe masked", "both masked"
_LOW_IS_GOOD = ("eer", "fmr100", "fmr1000")
# The first line of a file tells that it may be written again.
_MARKS: Mapping[str, bytes] = MappingProxyType(
    {
        ".tex": b"% written by mfrkit benchmark; needs \\usepackage{booktabs}\n",
        ".md": b"<!-- written by mfrkit benchmark -->\n\n",
    }
)
Record = Mapping[str, Any]


def refuse_others(options: BenchmarkOptions) -> None:
    """Refuse to write over files that are no such tables."""
    for path in options.tables:
        mark = _MARKS[path.suffix.lower()]
        if path.exists() and not options.run.force and not path.read_bytes().startswith(mark):
            raise InputError(
                f"{path}: exists and was not written by mfrkit benchmark; name another file"
            )


def write_tables(document: Record, options: BenchmarkOptions, console: Console) -> None:
    """Write all tables that are asked for of results as `results.json` holds them.

    Raises:
        InputError: the results hold no such figures or intervals, or are none.
    """
    if not options.tables:
        return
    try:
        tables = [
            conditions_table(document, options.figures, options.ci),
            kinds_table(document, with_intervals=bool(options.ci)),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError("these are no results of mfrkit benchmark; run it again") from error
    for path in options.tables:
        content = render([table for table in tables if table.rows], path)
        write_whole(path, _MARKS[path.suffix.lower()] + content)
        console.info(f"wrote {path}")


def conditions_table(document: Record, figures: Sequence[str], ci: float | None = None) -> Table:
    """Return the models, one a row, with each figure under each condition; best ones in bold.

    `ci` is the confidence of the intervals to show, in per cent; None for none.

    Raises:
        InputError: the results hold no such figures or intervals.
    """
    level = document.get("bootstrap", {}).get("level")
    if ci is not None and level != ci / 100:
        raise InputError(
            f"the results hold no {ci:g} % intervals; run mfrkit benchmark with the pair "
            f"list and --ci {ci:g}"
        )
    found = {_parted(each["system"]): each for each in document["results"]}
    models, conditions = (list(dict.fromkeys(names)) for names in zip(*found, strict=True))
    rows = [[model] for model in models]
    best = set()
    for condition in conditions:
        for name in figures:
            cells = [_Cell.read(found[model, condition], name) for model in models]
            places = best_places([cell.shown for cell in cells], lowest=name in _LOW_IS_GOOD)
            best |= {(place, len(rows[0])) for place in places}
            for row, cell in zip(rows, cells, strict=True):
                row.append(cell.text(with_interval=ci is not None))
    headings = [spell(_canonical(name)) for name in figures]
    return Table(
        f"{Path(document['pairs']['path']).name}, {document['pairs']['count']} pairs",
        ["model", *headings * len(conditions)],
        rows,
        _notes(rows, ci),
        [(condition, len(headings)) for condition in conditions if condition],
        frozenset(best),
    )


def read_results(folder: Path) -> Record:
    """Read what a finished benchmark found.

    Raises:
        InputError: there is nothing in the folder, or no JSON object.
    """
    path = folder / "results.json"
    if not path.exists():
        raise InputError(
            f"{path}: no such file; name a pair list and pictures to make it, or with --output the "
            "folder of a finished benchmark"
        )
    return read_json_object(path, "; run mfrkit benchmark again")


def kinds_table(document: Record, *, with_intervals: bool) -> Table:
    """Return the FNMR of each kind of mask, a model a column; without rows if there is one kind."""
    thresholds = {}
    for record in document["results"]:
        model, condition = _parted(record["system"])
        records = [each for each in record["fixed_thresholds"] if each["rates"]]
        if condition == PROBE and records:
            if not with_intervals:
                records = [_without_intervals(each) for each in records]
            thresholds[model] = [threshold_from_record(each) for each in records]
    table = group_table(thresholds, ("FNMR",), by="mask")
    return table._replace(
        title="FNMR % by kind of mask, probes masked, thresholds set on unmasked pairs"
    )


@dataclass(frozen=True)
class _Cell:
    """One figure of one system: its name as in intervals, value, ends, and whether to trust it."""

    name: str
    value: float
    ends: tuple[float, float]
    enough: bool

    @classmethod
    def read(cls, record: Record, figure_name: str) -> "_Cell":
        name = _canonical(figure_name)
        points = {"fmr100": record["fmr100"], "fmr1000": record["fmr1000"]}
        points |= {tar_name(point["target"]): point for point in record["tar_at_far"]}
        values = {
            "eer": record["eer"]["rate"],
            "accuracy": record["accuracy"]["mean"],
            "auc": record["auc"],
            "fdr": record["fdr"],
            **{each: point["fnmr" if each in _LOW_IS_GOOD else "tar"]
               for each, point in points.items()},
        }  # fmt: skip
        if name not in values:
            raise InputError(
                f"the results hold no {figure_name}; run mfrkit benchmark with the pair list and "
                f"--figures {figure_name}"
            )
        value, nowhere = values[name], {"low": None, "high": None}
        found = interval_from_record(record["intervals"].get(name, nowhere))
        enough = bool(points.get(name, {}).get("enough_impostors", True))
        return cls(name, math.nan if value is None else value, (found.low, found.high), enough)

    @property
    def shown(self) -> float | None:
        """The value as it is shown, if it can compete with others."""
        if math.isnan(self.value) or not self.enough:
            return None
        return float(figure(self.name, self.value))

    def text(self, *, with_interval: bool) -> str:
        if math.isnan(self.value):
            return UNDEFINED
        text = figure(self.name, self.value) + FEW * (not self.enough)
        if not with_interval or math.isnan(self.ends[0]):
            return text
        low, high = (figure(self.name, end) for end in self.ends)
        return f"{text} [{low}, {high}]"


def _notes(rows: Sequence[Sequence[str]], ci: float | None) -> list[str]:
    cells = [cell for row in rows for cell in row[1:]]
    notes = [] if ci is None else [f"in brackets: {ci:g} % intervals"]
    if any(FEW in cell for cell in cells):
        notes.append(f"{FEW} rests on fewer impostor pairs than 1/FAR")
    if UNDEFINED in cells:
        notes.append(f"{UNDEFINED}: these pairs cannot show it; report.html says why")
    return notes


def _without_intervals(record: Record) -> Record:
    rates = [{**each, "intervals": None} for each in record["rates"]]
    return {**record, "rates": rates}


def _parted(label: str) -> tuple[str, str]:
    """Part a system's label into model and condition, which is empty where there is but one."""
    for condition in CONDITIONS:
        if label.endswith(f" {condition}"):
            return label.removesuffix(f" {condition}"), condition
    return label, ""


def _canonical(name: str) -> str:
    far = far_in(name)
    return name if far is None else tar_name(far)
