"""Score a pair list with one or more embedding files and report how well they tell people apart.

Needs neither network nor graphics processor, nor the models that made the embeddings.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mfrkit.console import Console
from mfrkit.evaluation.assess import Assessment, assess
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.results import (
    DEFINITIONS,
    SystemResult,
    columns,
    finite,
    named_cells,
    to_json,
)
from mfrkit.evaluation.tables import counts_table, further_tables, results_table
from mfrkit.evaluation.thresholds import write_thresholds
from mfrkit.io.files import refuse_existing, write_whole
from mfrkit.io.pairs import PairList
from mfrkit.metrics.bootstrap import RESAMPLES
from mfrkit.pages.table import render

SCHEMA = 1
_MANY = 4  # systems from which on they are lines on a terminal, not columns


def evaluate(options: EvalOptions, console: Console) -> list[dict[str, Any]]:
    """Evaluate every system on the pair list; print the table or JSON and write the files.

    Returns:
        One plain object per system, as `--json` prints them.

    Raises:
        InputError: unusable pairs, embeddings or options, images without embedding under
            `missing="error"`, or an output that exists.
    """
    for path in options.outputs:
        refuse_existing(path, force=options.force)
    found = assess(options, console)
    write_files(found, options)
    document = to_document(found, options)
    if options.json:
        console.data(json.dumps(document, ensure_ascii=False))
    else:
        show(found, options, console)
    for path in options.outputs:
        console.info(f"wrote {path}")
    results: list[dict[str, Any]] = document["results"]
    return results


def write_files(found: Assessment, options: EvalOptions) -> None:
    """Write the files that the options name."""
    pairs, results = found.pairs, found.results
    if options.threshold_out is not None:
        settings = [(r.attributes, [fixed.setting for fixed in r.fixed]) for r in results]
        write_thresholds(options.threshold_out, pairs.path, settings)
    if options.scores is not None:
        write_whole(options.scores, _scores_table(pairs, results).encode())
    if options.table is not None:
        further = further_tables(found, for_people=True)
        tables = [results_table(results, options.fars), *further, counts_table(results)]
        write_whole(options.table, render(tables, options.table))
    if not options.plots and options.report is None:
        return
    from mfrkit.evaluation.plots import draw  # matplotlib loads here, when a picture is wanted

    for plot in options.plots:
        write_whole(plot, draw(pairs.same, results, plot.suffix[1:].lower()))
    if options.report is not None:
        from mfrkit.evaluation.page import report_page

        further = further_tables(found, for_people=True)
        write_whole(options.report, report_page(pairs, results, further, options).encode())


def _scores_table(pairs: PairList, results: Sequence[SystemResult]) -> str:
    """Return every pair with its scores as tab-separated text with a header, in the list's order.

    A column a system. Failed comparisons score `-inf`; a pair that was left out has an empty cell.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    names = ["score"] if len(results) == 1 else [result.label for result in results]
    writer.writerow(["key_a", "key_b", "same", "fold", *names])
    cells = [
        [repr(float(s)) if kept else "" for s, kept in zip(r.scores, r.counted, strict=True)]
        for r in results
    ]
    same, fold = pairs.same.astype(int).tolist(), pairs.fold.tolist()
    writer.writerows(zip(pairs.a, pairs.b, same, fold, *cells, strict=True))
    return out.getvalue()


def to_document(found: Assessment, options: EvalOptions) -> dict[str, Any]:
    """Return the evaluation as one plain object, as `--json` prints it."""
    pairs = found.pairs
    document = {
        "schema": SCHEMA,
        "pairs": {
            "path": str(pairs.path),
            "format": pairs.format,
            "count": len(pairs),
            "genuine": int(np.count_nonzero(pairs.same)),
            "impostor": int(np.count_nonzero(~pairs.same)),
            "folds": int(np.unique(pairs.fold).size),
        },
        "missing": options.missing,
        "definitions": dict(DEFINITIONS),
        "results": [to_json(result) for result in found.results],
    }
    if found.confidence is not None:
        document["bootstrap"] = {
            "level": found.confidence.level,
            "resamples": RESAMPLES,
            "seed": found.confidence.seed,
            "people": found.confidence.people.count,
            "told_apart_by": found.confidence.told_by,
        }
        document["comparisons"] = [
            {
                "first": each.first,
                "second": each.second,
                **{name: finite(asdict(gap)) for name, gap in each.differences.items()},
                "mcnemar": None if each.decisions is None else asdict(each.decisions),
            }
            for each in found.comparisons
        ]
    return document


def show(found: Assessment, options: EvalOptions, console: Console) -> None:
    """Print the tables: a system a line, for people a column while these are few."""
    results, for_people = found.results, console.is_terminal_out
    flag = "*" if for_people else ""
    lines = [columns(options.fars)]
    lines += [[result.label, *named_cells(result, flag=flag).values()] for result in results]
    if for_people and len(results) < _MANY:
        lines = [list(line) for line in zip(*lines, strict=True)]
    title = f"{found.pairs.path.name}: {len(found.pairs)} pairs" if for_people else ""
    console.table(title, lines[0], lines[1:])
    if for_people:
        _explain_flags(results, console)
    for table in further_tables(found, for_people=for_people):
        if not for_people:
            console.data("")  # parts it from the one before
        if table.rows:
            console.table(table.title, table.columns, table.rows)
        else:
            console.info(table.title)
        for note in table.notes:
            console.info(note)


def _explain_flags(results: Sequence[SystemResult], console: Console) -> None:
    impostors = min(result.figures.impostor.count for result in results)
    if any(not p.enough_impostors for r in results for p in (r.figures.fmr1000, *r.figures.tar)):
        console.info(f"* rests on too few impostor pairs ({impostors}); 1/FAR are needed")
