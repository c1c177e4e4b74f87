"""Everything that is reported about a set of scored pairs, in one call.

Scores and labels are those of `mfrkit.metrics.rates`; `fold` is (P,) int, the fold of each pair.
Accuracy is taken over the folds of the pair list, as the LFW family of benchmarks reports it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.rates import (
    EqualError,
    Floats,
    OperatingPoint,
    Roc,
    auc,
    check_scores,
    equal_error,
    operating_point,
    roc,
)

# Squared distances of unit vectors lie in [0, 4].
DISTANCES = np.arange(0.0, 4.0, 0.01)
DISTANCES.flags.writeable = False
_SLACK = 1e-5  # of cosines in single precision


@dataclass(frozen=True)
class FoldAccuracy:
    """Share of pairs decided rightly, each fold with the threshold of the others.

    Attributes:
        mean: over the folds, in [0, 1].
        std: population standard deviation over the folds.
        folds: number of each fold, as the pair list numbers them, rising.
        accuracies: of each fold.
        thresholds: squared distance below which a pair of that fold counts as the same person.
    """

    mean: float
    std: float
    folds: tuple[int, ...]
    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]


def fold_accuracy(
    scores: NDArray[np.floating], same: NDArray[np.bool_], fold: NDArray[np.integer]
) -> FoldAccuracy:
    """Measure the accuracy of each fold at the threshold that suits the other folds best.

    Nothing and NaN where there is one fold, or a score of another system's that is no cosine.

    Paper:
        Huang et al., UMass TR 07-49, 2007, View 2, in the form that FaceNet's and InsightFace's
        evaluations gave it: thresholds 0, 0.01, ..., 3.99 on the squared distance, the first of
        the best ones, "same" when the distance is below.

    Convention:
        Scores are cosine similarities s; the distance is d = 2 - 2 s. A failed comparison (-inf)
        is never "same": right for an impostor pair, wrong for a genuine one.
    """
    grid = FoldGrid.of(check_scores(scores, same), same, fold)
    if grid.folds.size < 2 or not are_cosines(scores):
        return FoldAccuracy(float("nan"), float("nan"), (), (), ())
    accuracies, best = grid.accuracies(np.ones((1, scores.size)))
    return FoldAccuracy(
        mean=float(accuracies[0].mean()),
        std=float(accuracies[0].std()),
        folds=tuple(grid.folds.tolist()),
        accuracies=tuple(accuracies[0].tolist()),
        thresholds=tuple(DISTANCES[best[0]].tolist()),
    )


def are_cosines(scores: NDArray[np.floating]) -> bool:
    """Whether all scores that are there lie in [-1, 1]; those of other systems may not."""
    return not np.any(np.abs(scores[np.isfinite(scores)]) > 1 + _SLACK)


def fold_decisions(
    scores: NDArray[np.floating], same: NDArray[np.bool_], fold: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Return (P,) bool, which pairs are decided rightly in `fold_accuracy`; it takes two folds."""
    result = fold_accuracy(scores, same, fold)
    if not result.folds:
        raise InputError("decisions with the thresholds of other folds need two folds")
    threshold = np.array(result.thresholds)[np.searchsorted(result.folds, fold)]
    return np.asarray((2.0 - 2.0 * scores.astype(np.float64) < threshold) == same)


@dataclass(frozen=True, eq=False)
class FoldGrid:
    """Pairs sorted into folds, labels and thresholds, so that decisions can be counted at once.

    Attributes:
        folds: (F,) int, number of each fold, rising.
        cells: (P,) int64, each pair's place in a flat table (F, 2, T + 1): its fold, whether it
            shows one person, and the first threshold that accepts it (T when none does).
    """

    folds: NDArray[np.integer]
    cells: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Floats, same: NDArray[np.bool_], fold: NDArray[np.integer]) -> "FoldGrid":
        """Sort pairs whose scores are checked."""
        if scores.shape != fold.shape:
            raise ShapeError(f"scores and folds differ in length: {scores.size} vs {fold.size}")
        folds, place = np.unique(fold, return_inverse=True)
        first = np.searchsorted(DISTANCES, 2.0 - 2.0 * scores, side="right")
        return cls(folds, (place * 2 + same) * (DISTANCES.size + 1) + first)

    def accuracies(self, weights: Floats) -> tuple[Floats, NDArray[np.intp]]:
        """Measure each fold at the threshold best on the others, for every weighting of the pairs.

        Args:
            weights: (R, P) float64, how often each pair counts.

        Returns:
            (R, F) accuracies, NaN for a fold without weight, and (R, F) places in `DISTANCES`.
        """
        shape = (len(weights), self.folds.size, 2, DISTANCES.size + 1)
        rows = np.arange(len(weights))[:, None] * (self.folds.size * 2 * shape[-1])
        counts = np.bincount(
            (rows + self.cells).ravel(), weights.ravel(), minlength=int(np.prod(shape))
        ).reshape(shape)
        accepted = counts.cumsum(axis=-1)  # (R, F, 2, T + 1): impostor, genuine
        impostors, total = accepted[:, :, 0, -1:], accepted[..., -1].sum(axis=-1)
        right = (accepted[:, :, 1] + impostors - accepted[:, :, 0])[..., :-1]  # (R, F, T)
        best = np.argmax(right.sum(axis=1, keepdims=True) - right, axis=-1)  # first maximum
        with np.errstate(invalid="ignore"):
            return np.take_along_axis(right, best[..., None], -1)[..., 0] / total, best


@dataclass(frozen=True)
class Spread:
    """Where one kind of comparison scores.

    Attributes:
        count: comparisons of this kind, failed ones included.
        failed: comparisons without a score (-inf); they enter neither mean nor deviation.
        mean: mean score; NaN without any.
        std: population standard deviation; NaN likewise.
    """

    count: int
    failed: int
    mean: float
    std: float


@dataclass(frozen=True)
class Figures:
    """How well scores tell people apart, without regard to folds.

    Attributes:
        genuine: scores of the comparisons that show one person.
        impostor: scores of those that show two.
        eer: equal error rate.
        fmr100: lowest FNMR with FMR <= 1 %; read it from `.fnmr`.
        fmr1000: lowest FNMR with FMR <= 0.1 %.
        tar: TAR at each FAR asked for, in that order.
        auc: probability that a genuine score exceeds an impostor score.
        fdr: Fisher discriminant ratio.
    """

    genuine: Spread
    impostor: Spread
    eer: EqualError
    fmr100: OperatingPoint
    fmr1000: OperatingPoint
    tar: tuple[OperatingPoint, ...]
    auc: float
    fdr: float


@dataclass(frozen=True)
class Verification(Figures):
    """How well the scores of a pair list tell people apart, and its accuracy over the folds."""

    accuracy: FoldAccuracy


def spread(scores: Floats) -> Spread:
    """Summarise the scores of one kind of comparison."""
    finite = scores[np.isfinite(scores)]
    failed = scores.size - finite.size
    if finite.size == 0:
        return Spread(scores.size, failed, float("nan"), float("nan"))
    mean = float(finite.mean())
    return Spread(scores.size, failed, mean, float(np.sqrt(((finite - mean) ** 2).mean())))


def fisher_ratio(genuine: Spread, impostor: Spread) -> float:
    """Return the Fisher discriminant ratio: squared distance of means over summed variances.

    At least 0, larger is better; NaN without both kinds of score, +inf without variance.
    """
    distance = (genuine.mean - impostor.mean) ** 2
    variance = genuine.std**2 + impostor.std**2
    if variance == 0:
        return float("inf") if distance > 0 else float("nan")
    return distance / variance


def read_figures(curve: Roc, genuine: Spread, impostor: Spread, far: Sequence[float]) -> Figures:
    """Read all figures off the curve of error rates."""
    return Figures(
        genuine=genuine,
        impostor=impostor,
        eer=equal_error(curve),
        fmr100=operating_point(curve, 0.01),
        fmr1000=operating_point(curve, 0.001),
        tar=tuple(operating_point(curve, target) for target in far),
        auc=auc(curve),
        fdr=fisher_ratio(genuine, impostor),
    )


def verify(
    scores: NDArray[np.floating],
    same: NDArray[np.bool_],
    fold: NDArray[np.integer],
    far: Sequence[float] = (1e-2, 1e-3, 1e-4),
) -> Verification:
    """Measure a scored pair list.

    Args:
        scores: (P,) float, cosine similarities in [-1, 1]; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.
        fold: (P,) int, the fold of each pair.
        far: FARs in (0, 1] at which the TAR is wanted.

    Returns:
        All figures; those that the pairs cannot support (no impostors, one fold) are NaN.

    Example:
        >>> scores, same = np.array([0.9, 0.9, 0.2, 0.1]), np.array([True, True, False, False])
        >>> result = verify(scores, same, np.array([0, 1, 0, 1]))
        >>> result.accuracy.mean, result.eer.rate, result.auc
        (1.0, 0.0, 1.0)
    """
    scores = check_scores(scores, same)
    spreads = spread(scores[same]), spread(scores[~same])
    figures = read_figures(roc(scores, same), *spreads, far)
    return Verification(**vars(figures), accuracy=fold_accuracy(scores, same, fold))
