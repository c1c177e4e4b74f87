"""Measure every system on a pair list: all that `mfrkit eval` knows, before anything is shown.

Beside the figures, that is error rates at thresholds fixed beforehand, chosen from a file or from
some of the scores, and how sure all of it is: intervals, and paired tests between systems.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.options import EvalOptions, one_of
from mfrkit.evaluation.results import SystemResult
from mfrkit.evaluation.scoring import (
    ScoredPairs,
    ScoredSystem,
    distinct_labels,
    given_systems,
    score_system,
)
from mfrkit.evaluation.thresholds import (
    THESE,
    UNMASKED,
    Condition,
    PairGroups,
    SourcedThreshold,
    ThresholdFile,
    apply_threshold,
)
from mfrkit.io.manifest import identity_of
from mfrkit.io.pairs import PairList, read_pairs
from mfrkit.io.tables import read_covariates, read_scores, read_templates
from mfrkit.metrics.bootstrap import (
    Confidence,
    Difference,
    Interval,
    McNemar,
    PairSubjects,
    bootstrap,
    difference,
    figures_of,
    interval,
    mcnemar,
    tar_name,
)
from mfrkit.metrics.rates import Floats, calibrate
from mfrkit.metrics.verification import fold_decisions, verify

DEFAULT_FMR = (1e-3,)
_COMPARED = ("accuracy", "eer")
_DISAGREEING = 0.01  # share of pairs whose label may contradict the names: lists have errors


@dataclass(frozen=True)
class SystemComparison:
    """Two systems on the same pairs: figures of the first minus the second's, and McNemar's test.

    The test is on the decisions behind the accuracy; None with one fold.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]
    decisions: McNemar | None


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known of the systems, in the order they were named.

    Attributes:
        comparisons: every two scored on the same pairs, where intervals were asked for.
        confidence: how intervals were made; None without.
    """

    pairs: PairList
    results: list[SystemResult]
    comparisons: list[SystemComparison]
    confidence: Confidence | None


def assess(options: EvalOptions, console: Console) -> Assessment:
    """Score the pairs with every system and measure what the scores say.

    Raises:
        InputError: unusable pairs, embeddings, scores or thresholds, or images without embedding
            under `missing="error"`.
    """
    listed, given = options.pairs, options.scores_in
    pairs = read_pairs(listed) if listed is not None else read_scores(given[0]).pairs
    systems = _score_systems(pairs, options, console)
    confidence = _confidence(pairs, systems[0], options)
    labels = distinct_labels([system.files for system in systems], options.names)
    named = zip(labels, systems, strict=True)
    results = [_figures(label, pairs, system, options) for label, system in named]
    if options.wants_thresholds:
        results = _fix_thresholds(pairs, systems, results, options, confidence, console)
    comparisons: list[SystemComparison] = []
    if confidence is not None:
        results, comparisons = _quantify(pairs, results, confidence)
    _warn(pairs, results, console)
    return Assessment(pairs, results, comparisons, confidence)


def _score_systems(pairs: PairList, options: EvalOptions, console: Console) -> list[ScoredSystem]:
    table = read_covariates(options.covariates) if options.covariates else None
    templates = read_templates(options.templates) if options.templates else None
    systems = []
    for place, path in enumerate(options.systems):
        files = (path, one_of(options.probes, place))
        system = score_system(pairs, files, options, templates, table, console)
        for scored in (system.scored, system.unmasked):
            if scored is not None:
                _report_absences(scored, options, console)
        systems.append(system)
    for system in given_systems(pairs, options.scores_in, console):
        _report_absences(system.scored, options, console)
        systems.append(system)
    return systems


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
    label: str, pairs: PairList, system: ScoredSystem, options: EvalOptions
) -> SystemResult:
    (embeddings, probes, attributes), scored = system.files, system.scored
    compared = np.isfinite(scored.scores)
    counted = _counted(scored.scores, options)
    if not compared.any():
        raise InputError(f"{embeddings}: it gives no score to any pair of {pairs.path}")
    lost = [len(absence.missing) for absence in scored.absences if absence.of == "images"]
    return SystemResult(
        label=label,
        embeddings=embeddings,
        probes=probes,
        attributes=attributes,
        scores=scored.scores,
        counted=counted,
        missing_images=sum(lost),
        missing_pairs=int(np.count_nonzero(~compared)),
        figures=verify(
            scored.scores[counted], pairs.same[counted], pairs.fold[counted], options.fars
        ),
        enrolment=scored.enrolment,
    )


def _counted(scores: Floats, options: EvalOptions) -> NDArray[np.bool_]:
    """Return which pairs enter the rates: failed comparisons do, unless they are dropped."""
    return np.isfinite(scores) if options.missing == "drop" else np.ones(scores.size, dtype=bool)


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


def _fix_thresholds(
    pairs: PairList,
    systems: Sequence[ScoredSystem],
    results: Sequence[SystemResult],
    options: EvalOptions,
    confidence: Confidence | None,
    console: Console,
) -> list[SystemResult]:
    """Return the results with error rates at fixed thresholds.

    These are set on the pairs within the first file, or on the pairs as evaluated, or were before.
    """
    held = ThresholdFile(options.threshold) if options.threshold else None
    everywhere = np.zeros(len(pairs), dtype=np.int64)
    fixed = []
    for system, result in zip(systems, results, strict=True):
        groupings = (PairGroups("", ("all pairs",), everywhere), *system.groups)
        conditions = [Condition(each, result.scores, result.counted) for each in groupings]
        where, origin = conditions[0], THESE
        if system.unmasked is not None:
            scores, groups = system.unmasked.scores, PairGroups("", (UNMASKED,), everywhere)
            where, origin = Condition(groups, scores, _counted(scores, options)), UNMASKED
            conditions.insert(0, where)
        if held is not None:
            settings = held.settings_for(result.attributes, result.embeddings, console)
        else:
            scores, same = where.scores[where.counted], pairs.same[where.counted]
            targets = options.fmr or DEFAULT_FMR
            settings = [SourcedThreshold(calibrate(scores, same, each), origin) for each in targets]
        rates = (apply_threshold(each, conditions, pairs.same, confidence) for each in settings)
        fixed.append(replace(result, fixed=tuple(rates)))
    return fixed


def _confidence(pairs: PairList, system: ScoredSystem, options: EvalOptions) -> Confidence | None:
    if options.ci is None:
        return None
    people, told_by = find_people(pairs, system.identities)
    return Confidence(options.ci / 100, options.seed, people, told_by)


def find_people(pairs: PairList, identities: Mapping[str, str]) -> tuple[PairSubjects, str]:
    """Tell the people of a pair list apart: pairs that share a person err together.

    Convention:
        By the identity stored with each image, else by the first folder of its key, which names
        the person. If an image has neither, or if more than 1 % of the pairs are labelled
        otherwise (the folders mean something else), images are one person's when genuine pairs
        join them.

    Returns:
        Who is on which image, and how they were told apart, as in `Confidence`.
    """
    names = [identities.get(key) or identity_of(key) or "" for key in pairs.a + pairs.b]
    people = _number(names, len(pairs))
    contradicted = (people.first == people.second) != pairs.same
    if all(names) and contradicted.mean() <= _DISAGREEING:
        return people, "names"
    return _number(_joined(pairs), len(pairs)), "genuine pairs"


def _number(names: Sequence[str], count: int) -> PairSubjects:
    different, numbers = np.unique(np.array(names), return_inverse=True)
    numbers = numbers.astype(np.int64, copy=False)
    return PairSubjects(numbers[:count], numbers[count:], different.size)


def _joined(pairs: PairList) -> list[str]:
    """Return for each image, first ones before second ones, one image of the same person."""
    parent = {key: key for key in pairs.a + pairs.b}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    for place in np.flatnonzero(pairs.same).tolist():
        parent[root(pairs.a[place])] = root(pairs.b[place])
    return [root(key) for key in pairs.a + pairs.b]


def _quantify(
    pairs: PairList, results: Sequence[SystemResult], confidence: Confidence
) -> tuple[list[SystemResult], list[SystemComparison]]:
    """Give each system's figures intervals, and test every two systems against each other."""
    samples = [_resample(pairs, result, confidence) for result in results]
    with_intervals = [
        replace(result, intervals=_intervals(result, draws, confidence.level))
        for result, draws in zip(results, samples, strict=True)
    ]
    comparisons = [
        _compare(pairs, one, other, confidence.level)
        for one, other in combinations(zip(with_intervals, samples, strict=True), 2)
        if np.array_equal(one[0].counted, other[0].counted)
    ]
    return with_intervals, comparisons


def _resample(pairs: PairList, result: SystemResult, confidence: Confidence) -> dict[str, Floats]:
    """Return the (R,) values each figure of a system takes over the resamples."""
    kept = result.counted
    return bootstrap(
        result.scores[kept],
        pairs.same[kept],
        pairs.fold[kept],
        confidence.people_of(kept),
        [point.target for point in result.figures.tar],
        seed=confidence.seed,
    )


def _intervals(
    result: SystemResult, samples: Mapping[str, Floats], level: float
) -> dict[str, Interval]:
    """Return each figure's interval, none where the figure itself is only a guess."""
    figures = result.figures
    points = {"fmr100": figures.fmr100, "fmr1000": figures.fmr1000}
    points |= {tar_name(point.target): point for point in figures.tar}
    guesses = {name for name, point in points.items() if not point.enough_impostors}
    nowhere = np.full(1, np.nan)
    return {
        name: interval(nowhere if name in guesses else values, level)
        for name, values in samples.items()
    }


def _compare(
    pairs: PairList,
    one: tuple[SystemResult, Mapping[str, Floats]],
    other: tuple[SystemResult, Mapping[str, Floats]],
    level: float,
) -> SystemComparison:
    (first, draws_a), (second, draws_b) = one, other
    a, b, kept = figures_of(first.figures), figures_of(second.figures), first.counted
    decisions = None
    if first.figures.accuracy.folds:
        right = [
            fold_decisions(each.scores[kept], pairs.same[kept], pairs.fold[kept])
            for each in (first, second)
        ]
        decisions = mcnemar(*right)
    return SystemComparison(
        first.label,
        second.label,
        {n: difference(a[n] - b[n], draws_a[n], draws_b[n], level) for n in _COMPARED},
        decisions,
    )
