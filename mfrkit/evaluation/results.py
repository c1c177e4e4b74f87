"""What `mfrkit eval` says about each system: as plain objects, as table rows, and defined."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.evaluation.scoring import LostImages
from mfrkit.evaluation.thresholds import FixedThreshold, plain, threshold_record
from mfrkit.metrics.bootstrap import Interval
from mfrkit.metrics.rates import OperatingPoint
from mfrkit.metrics.verification import Figures, FoldAccuracy, Verification, are_cosines

UNDEFINED = "n/a"
DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "score": "cosine similarity, or as another system gave it (--scores-in); accepted when "
        "score >= threshold",
        "accuracy": "mean over folds; each fold uses the threshold best on the other folds "
        "(same if 2 - 2 score < t, for t = 0, 0.01, ..., 3.99; first maximum); n/a for scores that "
        "are no cosines",
        "accuracy_std": "population standard deviation over folds",
        "eer": "FMR = FNMR, interpolated linearly between the neighbouring points of the curve",
        "fmr100": "lowest FNMR with FMR <= 1 %, one threshold for all pairs",
        "fmr1000": "lowest FNMR with FMR <= 0.1 %, one threshold for all pairs",
        "tar_at_far": "TAR at the lowest observed score with FAR <= target, one threshold for all "
        "pairs; fewer than 1/target impostor pairs are flagged",
        "auc": "probability that a genuine score exceeds an impostor score, ties one half",
        "means": "arithmetic means of the scores, failed comparisons left out",
        "fdr": "(genuine mean - impostor mean)^2 / (genuine variance + impostor variance)",
        "missing": "error: not allowed; reject: a failed comparison, never accepted; "
        "drop: left out, other pairs keep their folds",
        "enrolment": "images of the list without embedding, of all different ones: first images "
        "fail to enrol (FTE), second ones to be acquired (FTA); under --missing reject every FMR "
        "and FNMR counts their pairs and is the generalised rate of ISO/IEC 19795-1 (GFAR, GFRR)",
        "intervals": "percentile bootstrap: people are drawn with replacement, a pair counts with "
        "the product of its people's multiplicities; a rate of 0 or 1 at a fixed threshold gets "
        "the exact binomial interval for as many trials as people (impostors: couples)",
        "comparisons": "first minus second on the same resamples; p two-sided; McNemar: exact "
        "test on the decisions behind the accuracy, pairs taken for independent",
        "fixed_thresholds": "lowest observed score with FMR <= target where the threshold is set; "
        "that takes at least 1/target impostor pairs, and 30 false matches for a rate known "
        "within 30 % (rule of 30); intervals take the threshold as given",
        "groups": "one threshold for all groups; rates on fewer than 30 genuine or 1/target "
        "impostor pairs are flagged",
    }
)


@dataclass(frozen=True, eq=False)
class SystemResult:
    """One system's scores on the pair list and the figures they give.

    Attributes:
        label: its name in tables and plots, different for each system.
        embeddings: file of each pair's first image.
        probes: file of the second image, if another.
        attributes: root attributes of `embeddings`.
        scores: (P,) float64, cosine similarity, -inf for a failed comparison.
        counted: (P,) bool, the pairs that enter the figures.
        missing_images: images of the list without embedding.
        missing_pairs: pairs that could not be compared.
        figures: what the counted scores give.
        enrolment: images without embedding, by the part they play.
        intervals: name of a figure -> where it lies; empty if not asked for.
        fixed: error rates at thresholds fixed beforehand, if asked for.
    """

    label: str
    embeddings: Path
    probes: Path | None
    attributes: dict[str, Any]
    scores: NDArray[np.float64]
    counted: NDArray[np.bool_]
    missing_images: int
    missing_pairs: int
    figures: Verification
    enrolment: LostImages | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    fixed: tuple[FixedThreshold, ...] = ()


def to_json(result: SystemResult) -> dict[str, Any]:
    """Return a result with full precision; what the pairs cannot support is None."""
    figures, made, lost = result.figures, result.attributes, result.enrolment
    record = {
        "system": result.label,
        "embeddings": str(result.embeddings),
        "probes": None if result.probes is None else str(result.probes),
        **{name: plain(made.get(name)) for name in ("model", "weights_sha256", "flip")},
        "pairs": figures.genuine.count + figures.impostor.count,
        "missing": {"images": result.missing_images, "pairs": result.missing_pairs},
        "enrolment": lost and asdict(lost) | {"fte": lost.fte, "fta": lost.fta},
        "genuine": asdict(figures.genuine),
        "impostor": asdict(figures.impostor),
        "accuracy": _accuracy(figures.accuracy),
        "eer": asdict(figures.eer),
        "fmr100": _point(figures.fmr100),
        "fmr1000": _point(figures.fmr1000),
        "tar_at_far": [_point(point) for point in figures.tar],
        "auc": figures.auc,
        "fdr": figures.fdr,
        "intervals": {name: asdict(ends) for name, ends in result.intervals.items()},
        "fixed_thresholds": [threshold_record(fixed) for fixed in result.fixed],
    }
    return {name: finite(value) for name, value in record.items()}


def _accuracy(accuracy: FoldAccuracy) -> dict[str, Any]:
    rows = zip(accuracy.folds, accuracy.accuracies, accuracy.thresholds, strict=True)
    return {
        "mean": accuracy.mean,
        "std": accuracy.std,
        "folds": [
            {"fold": fold, "accuracy": share, "squared_distance": d, "threshold": 1 - d / 2}
            for fold, share, d in rows
        ],
    }


def _point(point: OperatingPoint) -> dict[str, Any]:
    return {
        "target": point.target,
        "far": point.far,
        "tar": point.tar,
        "fnmr": point.fnmr,
        "threshold": point.threshold,
        "enough_impostors": point.enough_impostors,
    }


def finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None, at any depth."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def columns(far: Sequence[float]) -> list[str]:
    """Return the column names of the table: shares in per cent, scores as they are."""
    tar = [f"TAR@{scientific(target)} %" for target in far]
    rates = ["EER %", *tar, "FMR100 %", "FMR1000 %", "accuracy %", "std %"]
    others = ["AUC", "FDR", "genuine mean", "impostor mean", "pairs", "missing", "FTE %", "FTA %"]
    return ["system", *rates, *others]


def named_cells(result: SystemResult, *, flag: str = "") -> dict[str, str]:
    """Return a result as text, by `columns` without the first.

    For people, a `flag` is appended to figures that rest on too few impostor pairs, and reasons
    stand beside what is undefined.
    """
    figures, lost = result.figures, result.enrolment
    cells = figure_cells(figures, flag=flag) | {
        "accuracy %": percent(figures.accuracy.mean),
        "std %": percent(figures.accuracy.std),
        "pairs": str(figures.genuine.count + figures.impostor.count),
        "missing": str(result.missing_pairs),
        "FTE %": percent(lost.fte) if lost else UNDEFINED,
        "FTA %": percent(lost.fta) if lost else UNDEFINED,
    }
    if flag:
        for name in [name for name, cell in cells.items() if cell == UNDEFINED]:
            cells[name] += f": {why_undefined(result, name)}"
    return {name: cells[name] for name in columns([point.target for point in figures.tar])[1:]}


def figure_cells(figures: Figures, *, flag: str = "") -> dict[str, str]:
    """Return figures as text, those that rest on too few impostors flagged."""

    def share(point: OperatingPoint, value: float) -> str:
        return percent(value) + ("" if point.enough_impostors or math.isnan(value) else flag)

    return {
        "EER %": percent(figures.eer.rate),
        **{f"TAR@{scientific(p.target)} %": share(p, p.tar) for p in figures.tar},
        "FMR100 %": share(figures.fmr100, figures.fmr100.fnmr),
        "FMR1000 %": share(figures.fmr1000, figures.fmr1000.fnmr),
        "AUC": decimal(figures.auc, 5),
        "FDR": decimal(figures.fdr, 2),
        "genuine mean": decimal(figures.genuine.mean, 3),
        "impostor mean": decimal(figures.impostor.mean, 3),
    }


def why_undefined(result: SystemResult, column: str) -> str:
    """Say in a few words why one of the `columns` has no value."""
    genuine, impostor = result.figures.genuine, result.figures.impostor
    if column in ("FTE %", "FTA %"):
        return "scores given"
    if column in ("accuracy %", "std %"):
        return "one fold" if are_cosines(result.scores) else "no cosines"
    kinds = {"genuine mean": (genuine,), "impostor mean": (impostor,)}
    for kind in kinds.get(column, (genuine, impostor)):
        people = "one person" if kind is genuine else "two people"
        if not kind.count:
            return f"no pairs of {people}"
        if kind.failed == kind.count:
            return f"all pairs of {people} failed"
    return {"EER %": "FMR and FNMR never meet", "FDR": "no variance"}[column]


def percent(share: float) -> str:
    """Return a share as per cent, two decimals, `n/a` where it is undefined."""
    return decimal(100 * share, 2)


def with_interval(figure: str, found: Interval) -> str:
    """Put a share's interval behind it, if there is one: `2.50 [1.25, 4.00]`."""
    if math.isnan(found.low):
        return figure
    return f"{figure} [{percent(found.low)}, {percent(found.high)}]"


def scientific(rate: float) -> str:
    """Return a small rate so that it cannot be taken for per cent.

    Example:
        >>> scientific(0.001), scientific(0.025), scientific(1.0)
        ('1e-3', '2.5e-2', '1e0')
    """
    mantissa, exponent = f"{rate:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def decimal(value: float, places: int) -> str:
    """Return a number with fixed decimals, `n/a` where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{value:.{places}f}"
