"""One threshold for use: set where so many false matches are seen, applied anywhere."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.metrics.rates import place_of, supports
from mfrkit.metrics.roc import check_scores, roc, share

ENOUGH_ERRORS = 30


@dataclass(frozen=True)
class Decisions:
    """What a threshold decides for a set of comparisons.

    Attributes:
        genuine: comparisons of one person, failed ones included.
        impostor: comparisons of two people, likewise.
        false_non_matches: genuine ones rejected.
        false_matches: impostor ones accepted.
    """

    genuine: int
    impostor: int
    false_non_matches: int
    false_matches: int

    @property
    def fmr(self) -> float:
        """Share of impostor comparisons accepted; NaN without any."""
        return float(share(self.false_matches, self.impostor))

    @property
    def fnmr(self) -> float:
        """Share of genuine comparisons rejected; NaN without any."""
        return float(share(self.false_non_matches, self.genuine))

    @property
    def accuracy(self) -> float:
        """Share of comparisons decided rightly; NaN without any."""
        errors, total = self.false_matches + self.false_non_matches, self.genuine + self.impostor
        return 1 - float(share(errors, total))


def decide(scores: NDArray[np.floating], same: NDArray[np.bool_], threshold: float) -> Decisions:
    """Count the errors of one threshold.

    Args:
        scores: (P,) float, similarities; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.
        threshold: accepted are scores of at least this much; +inf rejects all.

    Raises:
        ShapeError: arrays of different lengths, or labels that are not bool.
        InputError: a NaN or +inf score.

    Example:
        >>> decide(np.array([0.9, 0.4, 0.6]), np.array([True, True, False]), 0.5)
        Decisions(genuine=2, impostor=1, false_non_matches=1, false_matches=1)
    """
    accepted = check_scores(scores, same) >= threshold
    genuine = int(np.count_nonzero(same))
    return Decisions(
        genuine=genuine,
        impostor=same.size - genuine,
        false_non_matches=genuine - int(np.count_nonzero(accepted & same)),
        false_matches=int(np.count_nonzero(accepted & ~same)),
    )


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it reached where it was set.

    Attributes:
        target: the largest FMR allowed, in (0, 1].
        threshold: the lowest observed similarity that keeps to it; +inf when only rejecting all
            does.
        decisions: the errors there; `decisions.fmr` is the rate achieved.
    """

    target: float
    threshold: float
    decisions: Decisions

    @property
    def is_supported(self) -> bool:
        """Whether there were the 1/target impostors without which the threshold is a guess."""
        return supports(self.decisions.impostor, self.target) and math.isfinite(self.threshold)

    @property
    def has_thirty_errors(self) -> bool:
        """Whether the rate is known within 30 % with 90 % confidence, by the rule of 30.

        Paper:
            Doddington et al., Speech Communication 31(2-3), 2000; ISO/IEC 19795-1, annex B.
        """
        return self.decisions.false_matches >= ENOUGH_ERRORS


def calibrate(scores: NDArray[np.floating], same: NDArray[np.bool_], target: float) -> Calibration:
    """Find the most lenient threshold that keeps the FMR in bounds, and count what it does.

    Impostors alone are enough for that.

    Args:
        scores: (P,) float, similarities; -inf marks a failed comparison.
        same: (P,) bool, whether the two images show one person.
        target: the largest FMR allowed, in (0, 1].

    Raises:
        ShapeError: arrays of different lengths, or labels that are not bool.
        InputError: a NaN or +inf score, or a target outside (0, 1].

    Example:
        >>> same = np.array([True, True, False, False])
        >>> found = calibrate(np.array([0.9, 0.4, 0.3, 0.1]), same, 0.5)
        >>> found.threshold, found.decisions.fmr, found.decisions.fnmr
        (0.3, 0.5, 0.0)
    """
    curve = roc(scores, same)
    threshold = float(curve.thresholds[place_of(curve, target)])
    return Calibration(target, threshold, decide(scores, same, threshold))
