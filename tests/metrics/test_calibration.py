"""Thresholds set at a false match rate, and what they decide."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from mfrkit.errors import InputError
from mfrkit.metrics.calibration import Decisions, calibrate, decide


def draw(seed: int, count: int = 500):
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.4
    return np.round(random.normal(np.where(same, 0.6, 0.1), 0.25), 2), same


@pytest.mark.parametrize("threshold", [-1.0, 0.21, 0.5, np.inf])
def test_decisions_are_those_of_scikit_learn(threshold):
    scores, same = draw(0)
    matrix = confusion_matrix(same, scores >= threshold)
    found = decide(scores, same, threshold)
    assert found == Decisions(matrix[1].sum(), matrix[0].sum(), matrix[1, 0], matrix[0, 1])
    assert found.accuracy == pytest.approx(np.trace(matrix) / matrix.sum())


def test_failed_comparisons_are_never_accepted():
    found = decide(np.full(4, -np.inf), np.arange(4) < 3, -1.0)
    assert (found.fnmr, found.fmr) == (1.0, 0.0)


def test_no_comparisons_have_no_rates():
    found = decide(np.zeros(0), np.zeros(0, bool), 0.5)
    assert np.isnan([found.fmr, found.fnmr, found.accuracy]).all()


@pytest.mark.parametrize("target", [0.01, 0.05, 0.3])
def test_no_lower_score_keeps_to_the_rate(target):
    scores, same = draw(1)
    found = calibrate(scores, same, target)
    assert found.decisions == decide(scores, same, found.threshold)
    assert found.decisions.fmr <= target
    lower = scores[scores < found.threshold].max()
    assert (scores[~same] >= lower).mean() > target


def test_what_the_impostors_support():
    impostors = np.linspace(-1, 1, 3000)
    scores, same = np.append(impostors, 0.5), np.arange(3001) == 3000
    assert calibrate(scores, same, 1e-3).is_supported
    assert not calibrate(scores, same, 1e-4).is_supported
    assert calibrate(scores, same, 1e-2).has_thirty_errors
    assert not calibrate(scores, same, 9e-3).has_thirty_errors


def test_a_threshold_that_rejects_all_is_not_supported():
    found = calibrate(np.append(np.ones(100), 0.5), np.arange(101) == 100, 0.1)
    assert found.threshold == np.inf
    assert not found.is_supported


def test_impostors_alone_set_a_threshold_but_genuine_pairs_alone_do_not():
    levels = np.arange(100) / 100
    found = calibrate(levels, np.zeros(100, bool), 0.1)
    assert found.is_supported
    assert (found.threshold, found.decisions.false_matches) == (0.9, 10)
    assert not calibrate(levels, np.ones(100, bool), 0.1).is_supported


def test_impossible_rates_are_refused():
    with pytest.raises(InputError, match="FAR 0"):
        calibrate(np.zeros(2), np.array([True, False]), 0.0)
