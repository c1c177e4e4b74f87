"""Measure every system on a pair list: all that `mfrkit eval` knows, before anything is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.covariates import read_covariates
from mfrkit.io.pairs import PairList
from mfrkit.io.template_lists import read_templates
from mfrkit.metrics.verification import verify
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.fix_thresholds import fix_thresholds
from mfrkit.stages.given_scores import given_systems, pairs_to_evaluate
from mfrkit.stages.results import SystemResult
from mfrkit.stages.scoring import ScoredPairs
from mfrkit.stages.subjects import Confidence, find_people
from mfrkit.stages.systems import ScoredSystem, distinct_labels, pair_up_probes, score_system
from mfrkit.stages.uncertainty import Comparison, quantify


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known of the systems.

    Attributes:
        pairs: the list.
        results: the systems, in the order they were named.
        comparisons: every two of them, where intervals were asked for.
        confidence: how intervals were made; None without.
    """

    pairs: PairList
    results: list[SystemResult]
    comparisons: list[Comparison]
    confidence: Confidence | None


def assess(options: EvalOptions, console: Console) -> Assessment:
    """Score the pairs with every system and measure what the scores say.

    Raises:
        InputError: unusable pairs, embeddings or scores, or images without embedding under
            `missing="error"`.
    """
    pairs = pairs_to_evaluate(options.pairs, options.scores_in)
    systems = _score_systems(pairs, options, console)
    confidence = _confidence(pairs, systems[0], options)
    results = _measure(pairs, systems, options)
    results = fix_thresholds(pairs, systems, results, options, confidence, console)
    results, comparisons = quantify(pairs, results, confidence)
    _warn(pairs, results, console)
    return Assessment(pairs, results, comparisons, confidence)


def _score_systems(pairs: PairList, options: EvalOptions, console: Console) -> list[ScoredSystem]:
    table = read_covariates(options.covariates) if options.covariates else None
    templates = read_templates(options.templates) if options.templates else None
    probes = pair_up_probes(options.embeddings, options.probes)
    systems = []
    for files in zip(options.embeddings, probes, strict=True):
        system = score_system(pairs, files, options, templates, table, console)
        for scored in (system.scored, system.unmasked):
            if scored is not None:
                _report_absences(scored, options, console)
        systems.append(system)
    for given_files, scored in given_systems(pairs, options.scores_in, console):
        _report_absences(scored, options, console)
        systems.append(ScoredSystem(given_files, scored, None, (), {}))
    return systems


def _confidence(pairs: PairList, system: ScoredSystem, options: EvalOptions) -> Confidence | None:
    if options.ci is None:
        return None
    people, told_by = find_people(pairs, system.identities)
    return Confidence(options.ci / 100, options.seed, people, told_by)


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
