r"""A benchmark's results as tables for a paper: models by conditions, kinds of mask by models.

They are made from `results.json`, so that a finished benchmark is tabulated again in no time.
LaTeX tables are a `tabular` each, for `\input` below a caption; they need the package booktabs.
"""

import math
from collections.abc import Mapping, Sequence
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
            cells = [
                _cell(found[model, condition], name, with_interval=ci is not None)
                for model in models
            ]
            places = best_places([value for value, _ in cells], lowest=name in _LOW_IS_GOOD)
            best |= {(place, len(rows[0])) for place in places}
            for row, (_, text) in zip(rows, cells, strict=True):
                row.append(text)
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


def _cell(record: Record, asked: str, *, with_interval: bool) -> tuple[float | None, str]:
    """Return one figure of one system as it competes with others, if it can, and as it is shown."""
    name = _canonical(asked)
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
            f"the results hold no {asked}; run mfrkit benchmark with the pair list and "
            f"--figures {asked}"
        )
    if values[name] is None:
        return None, UNDEFINED
    text = figure(name, values[name])
    enough = bool(points.get(name, {}).get("enough_impostors", True))
    competing, text = float(text) if enough else None, text + FEW * (not enough)
    ends = interval_from_record(record["intervals"].get(name, {"low": None, "high": None}))
    if with_interval and not math.isnan(ends.low):
        text += f" [{figure(name, ends.low)}, {figure(name, ends.high)}]"
    return competing, text


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
