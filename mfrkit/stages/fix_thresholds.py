"""Choose each system's thresholds, from a file or from some of its scores, and apply them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.io.pairs import PairList
from mfrkit.metrics.calibration import calibrate
from mfrkit.metrics.roc import Floats
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.fixed_points import THESE, UNMASKED, Condition, Setting, apply_thresholds
from mfrkit.stages.pair_groups import PairGroups
from mfrkit.stages.results import SystemResult
from mfrkit.stages.subjects import Confidence
from mfrkit.stages.systems import ScoredSystem
from mfrkit.stages.threshold_file import ThresholdFile

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
