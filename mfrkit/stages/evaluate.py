"""Score a pair list with one or more embedding files and report how well they tell people apart.

Needs neither network nor graphics processor, nor the models that made the embeddings.
"""

import csv
import io
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing, write_whole
from mfrkit.io.pairs import PairList
from mfrkit.io.template_lists import read_templates
from mfrkit.metrics.verification import verify
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.given_scores import given_systems, pairs_to_evaluate
from mfrkit.stages.report_tables import results_table
from mfrkit.stages.results import DEFINITIONS, SystemResult, columns, row, to_json
from mfrkit.stages.scoring import ScoredPairs, score_pairs
from mfrkit.stages.systems import distinct_labels, pair_up_probes
from mfrkit.stages.table_formats import render
from mfrkit.stages.templates import as_templates

SCHEMA = 1


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
    pairs = pairs_to_evaluate(options.pairs, options.scores_in)
    results = _evaluate_systems(pairs, options, console)
    _warn(pairs, results, console)
    records = [to_json(result) for result in results]
    _write_files(pairs, results, options)
    if options.json:
        console.data(json.dumps(_envelope(pairs, records, options), ensure_ascii=False))
    else:
        _show(pairs, results, options, console)
    for path in options.outputs:
        console.info(f"wrote {path}")
    return records


def _evaluate_systems(
    pairs: PairList, options: EvalOptions, console: Console
) -> list[SystemResult]:
    probes = pair_up_probes(options.embeddings, options.probes)
    templates = read_templates(options.templates) if options.templates else None
    opened, scored = [], []
    for path, probe in zip(options.embeddings, probes, strict=True):
        with ExitStack() as files:
            first = files.enter_context(EmbeddingReader(path))
            second = files.enter_context(EmbeddingReader(probe)) if probe else first
            _compare_origins(first, second, console)
            opened.append((path, probe, first.attributes))
            scored.append(score_pairs(pairs, *as_templates(first, second, templates, console)))
        _report_absences(scored[-1], options, console)
    for system, given in given_systems(pairs, options.scores_in, console):
        opened.append(system)
        scored.append(given)
        _report_absences(given, options, console)
    labels = distinct_labels(opened, options.names)
    return [
        _figures(label, *system, pairs=pairs, scored=one, options=options)
        for label, system, one in zip(labels, opened, scored, strict=True)
    ]


def _compare_origins(first: EmbeddingReader, second: EmbeddingReader, console: Console) -> None:
    for name in ("weights_sha256", "model", "flip"):
        a, b = first.attributes.get(name), second.attributes.get(name)
        if a is not None and b is not None and a != b:
            # A student may share its teacher's space, so this is worth a word, not a refusal.
            console.warn(f"{first.path} and {second.path} differ in {name}: {a} and {b}")
            return


def _report_absences(scored: ScoredPairs, options: EvalOptions, console: Console) -> None:
    if not scored.absences:
        return
    text = "; ".join(str(absence) for absence in scored.absences)
    if options.missing == "error":
        raise InputError(
            f"{text}; --missing reject counts their pairs as failed comparisons, "
            "--missing drop leaves them out"
        )
    done = "count as failed comparisons" if options.missing == "reject" else "are left out"
    console.warn(f"{text}; their {np.count_nonzero(np.isneginf(scored.scores))} pairs {done}")


def _figures(
    label: str,
    embeddings: Path,
    probes: Path | None,
    attributes: dict[str, Any],
    *,
    pairs: PairList,
    scored: ScoredPairs,
    options: EvalOptions,
) -> SystemResult:
    compared = np.isfinite(scored.scores)
    counted = compared if options.missing == "drop" else np.ones(len(pairs), dtype=bool)
    if not compared.any():
        raise InputError(f"{embeddings}: it gives no score to any pair of {pairs.path}")
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
    if options.scores is not None:
        write_whole(options.scores, scores_table(pairs, results).encode())
    if options.table is not None:
        table = results_table(results, options.far)
        write_whole(options.table, render([table], options.table))
    if not options.plots and options.report is None:
        return
    from mfrkit.stages.plots import draw  # matplotlib loads here, when a picture is wanted

    for plot in options.plots:
        write_whole(plot, draw(pairs.same, results, plot.suffix[1:].lower()))
    if options.report is not None:
        from mfrkit.stages.eval_report import report_page

        write_whole(options.report, report_page(pairs, results, options).encode())


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
