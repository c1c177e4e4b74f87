"""Score a pair list with one or more embedding files and report how well they tell people apart.

Needs neither network nor graphics processor, nor the models that made the embeddings.
"""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.covariates import read_covariates
from mfrkit.io.files import refuse_existing, write_whole
from mfrkit.io.pairs import PairList, read_pairs
from mfrkit.metrics.verification import verify
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.eval_tables import further_tables
from mfrkit.stages.fix_thresholds import fix_thresholds
from mfrkit.stages.results import DEFINITIONS, SystemResult, columns, row, to_json
from mfrkit.stages.scoring import ScoredPairs
from mfrkit.stages.subjects import Confidence, find_people
from mfrkit.stages.systems import ScoredSystem, distinct_labels, pair_up_probes, score_system
from mfrkit.stages.table import Table
from mfrkit.stages.threshold_file import write_thresholds
from mfrkit.stages.uncertainty import comparison_record, confidence_record, quantify

SCHEMA = 1


def evaluate(options: EvalOptions, console: Console) -> list[dict[str, Any]]:
    """Evaluate every system on the pair list; print the tables or JSON and write the files.

    Returns:
        One plain object per system, as `--json` prints them.

    Raises:
        InputError: unusable pairs, embeddings or options, images without embedding under
            `missing="error"`, or an output that exists.
    """
    for path in options.outputs:
        refuse_existing(path, force=options.force)
    pairs = read_pairs(options.pairs)
    systems = _score_systems(pairs, options, console)
    confidence = _confidence(pairs, systems[0], options)
    results = _measure(pairs, systems, options)
    results = fix_thresholds(pairs, systems, results, options, confidence, console)
    results, comparisons = quantify(pairs, results, confidence)
    _warn(pairs, results, console)
    records = [to_json(result) for result in results]
    _write_files(pairs, results, options)
    if options.json:
        envelope = _envelope(pairs, records, options)
        if confidence is not None:
            envelope["bootstrap"] = confidence_record(confidence)
            envelope["comparisons"] = [comparison_record(each) for each in comparisons]
        console.data(json.dumps(envelope, ensure_ascii=False))
    else:
        _show(pairs, results, options, console)
        for table in further_tables(results, comparisons, confidence, console.is_terminal_out):
            _show_below(table, console)
    for path in options.outputs:
        console.info(f"wrote {path}")
    return records


def _score_systems(pairs: PairList, options: EvalOptions, console: Console) -> list[ScoredSystem]:
    table = read_covariates(options.covariates) if options.covariates else None
    probes = pair_up_probes(options.embeddings, options.probes)
    systems = []
    for files in zip(options.embeddings, probes, strict=True):
        system = score_system(pairs, files, options, table, console)
        for scored in (system.scored, system.unmasked):
            if scored is not None and scored.absences:
                _report_absences(scored, options, console)
        systems.append(system)
    return systems


def _confidence(pairs: PairList, system: ScoredSystem, options: EvalOptions) -> Confidence | None:
    if options.ci is None:
        return None
    people, told_by = find_people(pairs, system.identities)
    return Confidence(options.ci / 100, options.seed, people, told_by)


def _report_absences(scored: ScoredPairs, options: EvalOptions, console: Console) -> None:
    text = "; ".join(str(absence) for absence in scored.absences)
    if options.missing == "error":
        raise InputError(
            f"{text}; --missing reject counts their pairs as failed comparisons, "
            "--missing drop leaves them out"
        )
    done = "count as failed comparisons" if options.missing == "reject" else "are left out"
    console.warn(f"{text}; their {np.count_nonzero(np.isneginf(scored.scores))} pairs {done}")


def _measure(
    pairs: PairList, systems: Sequence[ScoredSystem], options: EvalOptions
) -> list[SystemResult]:
    labels = distinct_labels([system.files for system in systems], options.names)
    return [
        _figures(label, pairs, system, options)
        for label, system in zip(labels, systems, strict=True)
    ]


def _figures(
    label: str, pairs: PairList, system: ScoredSystem, options: EvalOptions
) -> SystemResult:
    (embeddings, probes, attributes), scored = system.files, system.scored
    compared = np.isfinite(scored.scores)
    counted = compared if options.missing == "drop" else np.ones(len(pairs), dtype=bool)
    if not compared.any():
        raise InputError(f"{embeddings}: no pair of {pairs.path} has both its images embedded")
    return SystemResult(
        label=label,
        embeddings=embeddings,
        probes=probes,
        attributes=attributes,
        scores=scored.scores,
        counted=counted,
        missing_images=sum(len(absence.images) for absence in scored.absences),
        missing_pairs=int(np.count_nonzero(~compared)),
        figures=verify(
            scored.scores[counted], pairs.same[counted], pairs.fold[counted], options.far
        ),
        enrolment=scored.enrolment,
    )


def _warn(pairs: PairList, results: Sequence[SystemResult], console: Console) -> None:
    if pairs.same.all() or not pairs.same.any():
        kind = "one person" if pairs.same.all() else "two people"
        console.warn(f"{pairs.path}: every pair shows {kind}; error rates need both kinds")
        return
    lopsided = [f for f in np.unique(pairs.fold) if pairs.same[pairs.fold == f].mean() in (0, 1)]
    if lopsided:
        console.warn(
            f"{pairs.path}: {len(lopsided)} folds hold pairs of one kind only; "
            "the spread of the accuracy says little"
        )
    if any((result.counted != results[0].counted).any() for result in results):
        console.warn(
            "the systems are scored on different pairs; compare them with --missing reject"
        )


def _write_files(pairs: PairList, results: Sequence[SystemResult], options: EvalOptions) -> None:
    if options.threshold_out is not None:
        settings = [(r.attributes, [fixed.setting for fixed in r.fixed]) for r in results]
        write_thresholds(options.threshold_out, options.pairs, settings)
    if options.scores is not None:
        write_whole(options.scores, scores_table(pairs, results).encode())
    if not options.plots and options.report is None:
        return
    from mfrkit.stages.plots import draw  # matplotlib loads here, when a picture is wanted

    for plot in options.plots:
        write_whole(plot, draw(pairs.same, results, plot.suffix[1:].lower()))
    if options.report is not None:
        from mfrkit.stages.report import html_report

        drawing = draw(pairs.same, results, "svg").decode()
        page = html_report(pairs, results, options.far, drawing, options.pictures)
        write_whole(options.report, page.encode())


def scores_table(pairs: PairList, results: Sequence[SystemResult]) -> str:
    """Return every pair with its scores as tab-separated text with a header.

    Convention:
        One line a pair, in the order of the list; one score column a system. A failed comparison
        scores `-inf`; a pair that was left out has an empty cell. Scores have all their digits.
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


def _envelope(
    pairs: PairList, records: list[dict[str, Any]], options: EvalOptions
) -> dict[str, Any]:
    return {
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
        "results": records,
    }


def _show(
    pairs: PairList, results: Sequence[SystemResult], options: EvalOptions, console: Console
) -> None:
    """Print a table: a system a line for programs, a system a column for people."""
    if not console.is_terminal_out:
        console.table("", columns(options.far), [row(result) for result in results])
        return
    lines = zip(columns(options.far), *(row(r, flag="*") for r in results), strict=True)
    header, *body = (list(line) for line in lines)
    console.table(f"{pairs.path.name}: {len(pairs)} pairs", header, body)
    impostors = min(result.figures.impostor.count for result in results)
    if any(not p.enough_impostors for r in results for p in (r.figures.fmr1000, *r.figures.tar)):
        console.info(f"* rests on too few impostor pairs ({impostors}); 1/FAR are needed")


def _show_below(table: Table, console: Console) -> None:
    """Print a further table; in a pipe, an empty line parts it from the one before."""
    if not console.is_terminal_out:
        console.data("")
    if table.rows:
        console.table(table.title, table.columns, table.rows)
    else:
        console.info(table.title)
    for note in table.notes:
        console.info(note)
