"""Accuracy over the folds of a pair list, as the LFW family of benchmarks reports it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.roc import Floats, check_scores

# Squared distances of unit vectors lie in [0, 4].
DISTANCES = np.arange(0.0, 4.0, 0.01)
DISTANCES.flags.writeable = False
_SLACK = 1e-5  # of cosines in single precision


@dataclass(frozen=True)
class FoldAccuracy:
    """Share of pairs decided rightly, each fold with the threshold of the others.

    Attributes:
        mean: mean over the folds in [0, 1]; NaN with fewer than two folds, or scores that
            are no cosines.
        std: population standard deviation over the folds; NaN likewise.
        folds: number of each fold, as the pair list numbers them, rising.
        accuracies: accuracy of each fold.
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

    Paper:
        Huang et al., UMass TR 07-49, 2007, View 2, in the form that FaceNet's and InsightFace's
        evaluations gave it: thresholds 0, 0.01, ..., 3.99 on the squared distance, the first of
        the best ones, "same" when the distance is below.

    Convention:
        Scores are cosine similarities s; the distance is d = 2 - 2 s. A failed comparison (-inf)
        is never "same": right for an impostor pair, wrong for a genuine one.

    Args:
        scores: (P,) float, cosine similarities in [-1, 1], or -inf.
        same: (P,) bool, whether the two images show one person.
        fold: (P,) int, the fold of each pair.

    Returns:
        Mean, spread, and each fold's accuracy and threshold; NaN and nothing where there is one
        fold, or a score of another system's that is no cosine.

    Raises:
        ShapeError: arrays of different lengths, or labels that are not bool.
        InputError: a NaN or +inf score.

    Example:
        >>> scores = np.array([0.9, 0.1, 0.9, 0.2])
        >>> fold_accuracy(scores, np.array([True, False] * 2), np.array([0, 0, 1, 1])).mean
        1.0
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
    """Whether all scores that are there lie in [-1, 1]; those of other systems may not.

    Args:
        scores: (P,) float, or -inf for a failed comparison.
    """
    return not np.any(np.abs(scores[np.isfinite(scores)]) > 1 + _SLACK)


def fold_decisions(
    scores: NDArray[np.floating], same: NDArray[np.bool_], fold: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell which pairs are decided rightly in `fold_accuracy`.

    Args:
        scores: (P,) float, cosine similarities in [-1, 1], or -inf.
        same: (P,) bool, whether the two images show one person.
        fold: (P,) int, the fold of each pair; at least two folds.

    Returns:
        (P,) bool.

    Raises:
        ShapeError: arrays of different lengths, or labels that are not bool.
        InputError: a NaN or +inf score, or fewer than two folds.

    Example:
        >>> scores = np.array([0.9, 0.1, 0.5, 0.2])
        >>> fold_decisions(scores, np.array([True, False] * 2), np.array([0, 0, 1, 1])).tolist()
        [True, True, False, True]
    """
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
        """Sort pairs whose scores are checked.

        Raises:
            ShapeError: arrays of different lengths.
        """
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
