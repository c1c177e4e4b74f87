"""Accuracy over the folds of a pair list, as the LFW family of benchmarks reports it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
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
    distances = 2.0 - 2.0 * check_scores(scores, same)
    if distances.shape != fold.shape:
        raise ShapeError(f"scores and folds differ in length: {distances.size} vs {fold.size}")
    names, place = np.unique(fold, return_inverse=True)
    if names.size < 2 or not _are_cosines(scores):
        return FoldAccuracy(float("nan"), float("nan"), (), (), ())
    right = _right_decisions(distances, same, place, names.size)  # (F, T)
    sizes = np.bincount(place)  # (F,)
    best = np.argmax(right.sum(axis=0) - right, axis=1)  # the other folds; first maximum
    accuracies: Floats = right[np.arange(names.size), best] / sizes
    return FoldAccuracy(
        mean=float(accuracies.mean()),
        std=float(accuracies.std()),
        folds=tuple(names.tolist()),
        accuracies=tuple(accuracies.tolist()),
        thresholds=tuple(DISTANCES[best].tolist()),
    )


def _are_cosines(scores: NDArray[np.floating]) -> bool:
    """Whether all scores that are there lie in [-1, 1]; those of other systems may not."""
    return not np.any(np.abs(scores[np.isfinite(scores)]) > 1 + _SLACK)


def _right_decisions(
    distances: Floats, same: NDArray[np.bool_], place: NDArray[np.intp], folds: int
) -> NDArray[np.int64]:
    """Count the right decisions of each fold at each threshold: (F, T).

    One pass over the pairs: a pair is accepted from the first threshold above its distance on.
    """
    first = np.searchsorted(DISTANCES, distances, side="right")  # T when never accepted
    columns = DISTANCES.size + 1
    cells = (place * 2 + same) * columns + first
    counts = np.bincount(cells, minlength=folds * 2 * columns).reshape(folds, 2, columns)
    accepted = counts.cumsum(axis=2)[:, :, :-1]  # (F, 2, T): impostor, genuine
    impostors = counts[:, 0].sum(axis=1, keepdims=True)
    return np.asarray(accepted[:, 1] + impostors - accepted[:, 0], dtype=np.int64)
