"""Measure every system on a pair list: all that `mfrkit eval` knows, before anything is shown.

Thresholds that were asked for are part of it: chosen from a file or from some of the scores,
then applied to all pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.intervals import Comparison, quantify
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.results import SystemResult
from mfrkit.evaluation.scoring import ScoredPairs
from mfrkit.evaluation.subjects import Confidence, PairGroups, find_people
from mfrkit.evaluation.systems import (
    ScoredSystem,
    distinct_labels,
    given_systems,
    pair_up_probes,
    pairs_to_evaluate,
    score_system,
)
from mfrkit.evaluation.threshold_file import ThresholdFile
from mfrkit.evaluation.thresholds import THESE, UNMASKED, Condition, Setting, apply_thresholds
from mfrkit.io.pairs import PairList
from mfrkit.io.tables import read_covariates, read_templates
from mfrkit.metrics.calibration import calibrate
from mfrkit.metrics.rates import Floats
from mfrkit.metrics.verification import verify

DEFAULT_FMR = (1e-3,)


def fix_thresholds(
    pairs: PairList,
    systems: Sequence[ScoredSystem],
    results: Sequence[SystemResult],
    options: EvalOptions,
    confidence: Confidence | None,
    console: Console,
) -> list[SystemResult]:
    """Return the results with error rates at fixed thresholds, if those are asked for.

    Raises:
        InputError: an unusable threshold file, or one of other models.
    """
    if not options.wants_thresholds:
        return list(results)
    held = ThresholdFile(options.threshold) if options.threshold else None
    fixed = []
    for system, result in zip(systems, results, strict=True):
        if held is not None:
            settings = held.settings_for(result.attributes, result.embeddings, console)
        else:
            settings = _set(pairs, system, result, options)
        conditions = _conditions(system, result, options)
        rates = apply_thresholds(settings, conditions, pairs.same, confidence)
        fixed.append(replace(result, fixed=rates))
    return fixed


def _set(
    pairs: PairList, system: ScoredSystem, result: SystemResult, options: EvalOptions
) -> list[Setting]:
    """Set thresholds on the pairs within the first file, or on the pairs as evaluated."""
    if system.unmasked is None:
        scores, counted, origin = result.scores, result.counted, THESE
    else:
        scores, origin = system.unmasked.scores, UNMASKED
        counted = _counted(scores, options)
    return [
        Setting(calibrate(scores[counted], pairs.same[counted], target), origin)
        for target in options.fmr or DEFAULT_FMR
    ]


def _conditions(
    system: ScoredSystem, result: SystemResult, options: EvalOptions
) -> list[Condition]:
    everywhere = np.zeros(result.scores.size, dtype=np.int64)
    conditions = []
    if system.unmasked is not None:
        groups = PairGroups("", (UNMASKED,), everywhere)
        scores = system.unmasked.scores
        conditions.append(Condition(groups, scores, _counted(scores, options)))
    groupings = (PairGroups("", ("all pairs",), everywhere), *system.groups)
    return conditions + [Condition(each, result.scores, result.counted) for each in groupings]


def _counted(scores: Floats, options: EvalOptions) -> NDArray[np.bool_]:
    """Return which pairs enter the rates: failed comparisons do, unless they are dropped."""
    return np.isfinite(scores) if options.missing == "drop" else np.ones(scores.size, dtype=bool)


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
