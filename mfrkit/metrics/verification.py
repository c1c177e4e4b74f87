"""Everything that is reported about a set of scored pairs, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.metrics.folds import FoldAccuracy, fold_accuracy
from mfrkit.metrics.rates import EqualError, OperatingPoint, auc, equal_error, operating_point
from mfrkit.metrics.roc import Floats, check_scores, roc


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
class Verification:
    """How well the scores of a pair list tell people apart.

    Attributes:
        genuine: scores of the pairs that show one person.
        impostor: scores of the pairs that show two.
        accuracy: accuracy over the list's folds.
        eer: equal error rate.
        fmr100: lowest FNMR with FMR <= 1 %; read it from `.fnmr`.
        fmr1000: lowest FNMR with FMR <= 0.1 %.
        tar: TAR at each FAR asked for, in that order.
        auc: probability that a genuine score exceeds an impostor score.
        fdr: Fisher discriminant ratio.
    """

    genuine: Spread
    impostor: Spread
    accuracy: FoldAccuracy
    eer: EqualError
    fmr100: OperatingPoint
    fmr1000: OperatingPoint
    tar: tuple[OperatingPoint, ...]
    auc: float
    fdr: float


def spread(scores: Floats) -> Spread:
    """Summarise the scores of one kind of comparison.

    Args:
        scores: (P,) float64, similarities; -inf marks a failed comparison.

    Example:
        >>> spread(np.array([0.25, 0.75, -np.inf]))
        Spread(count=3, failed=1, mean=0.5, std=0.25)
    """
    finite = scores[np.isfinite(scores)]
    failed = scores.size - finite.size
    if finite.size == 0:
        return Spread(scores.size, failed, float("nan"), float("nan"))
    mean = float(finite.mean())
    return Spread(scores.size, failed, mean, float(np.sqrt(((finite - mean) ** 2).mean())))


def fisher_ratio(genuine: Spread, impostor: Spread) -> float:
    """Return the Fisher discriminant ratio: squared distance of means over summed variances.

    Returns:
        At least 0, larger is better; NaN without both kinds of score, +inf without variance.

    Example:
        >>> fisher_ratio(Spread(9, 0, 0.75, 0.25), Spread(9, 0, 0.0, 0.25))
        4.5
    """
    distance = (genuine.mean - impostor.mean) ** 2
    variance = genuine.std**2 + impostor.std**2
    if variance == 0:
        return float("inf") if distance > 0 else float("nan")
    return distance / variance


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

    Raises:
        ShapeError: arrays of different lengths, or labels that are not bool.
        InputError: a NaN or +inf score, or a FAR outside (0, 1].

    Example:
        >>> scores, same = np.array([0.9, 0.9, 0.2, 0.1]), np.array([True, True, False, False])
        >>> result = verify(scores, same, np.array([0, 1, 0, 1]))
        >>> result.accuracy.mean, result.eer.rate, result.auc
        (1.0, 0.0, 1.0)
    """
    scores = check_scores(scores, same)
    curve = roc(scores, same)
    genuine, impostor = spread(scores[same]), spread(scores[~same])
    return Verification(
        genuine=genuine,
        impostor=impostor,
        accuracy=fold_accuracy(scores, same, fold),
        eer=equal_error(curve),
        fmr100=operating_point(curve, 0.01),
        fmr1000=operating_point(curve, 0.001),
        tar=tuple(operating_point(curve, target) for target in far),
        auc=auc(curve),
        fdr=fisher_ratio(genuine, impostor),
    )
