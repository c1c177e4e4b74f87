"""Fold accuracy against a slow recomputation that follows the procedure literally."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfrkit.errors import ShapeError
from mfrkit.metrics.folds import DISTANCES, fold_accuracy


def slow(scores, same, fold):
    """One threshold, one fold at a time."""
    distances = [2 - 2 * s for s in scores]
    thresholds = [0.01 * i for i in range(400)]
    accuracies, chosen = [], []
    for held_out in sorted(set(fold.tolist())):
        best, best_threshold = -1, None
        for threshold in thresholds:
            right = sum(
                (d < threshold) == s
                for d, s, f in zip(distances, same, fold, strict=True)
                if f != held_out
            )
            if right > best:
                best, best_threshold = right, threshold
        inside = [i for i, f in enumerate(fold) if f == held_out]
        right = sum((distances[i] < best_threshold) == same[i] for i in inside)
        accuracies.append(right / len(inside))
        chosen.append(best_threshold)
    return accuracies, chosen


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_agrees_with_the_literal_procedure(seed, folds):
    random = np.random.default_rng(seed)
    same = random.random(40) < 0.5
    scores = np.clip(random.normal(np.where(same, 0.6, 0.2), 0.3), -1, 1)
    scores[random.random(40) < 0.1] = -np.inf
    fold = random.integers(0, folds, 40)
    if np.unique(fold).size < 2:
        return
    result = fold_accuracy(scores, same, fold)
    accuracies, thresholds = slow(scores, same, fold)
    assert result.accuracies == pytest.approx(accuracies, abs=1e-12)
    assert result.thresholds == pytest.approx(thresholds, abs=1e-12)
    assert result.mean == pytest.approx(np.mean(accuracies))
    assert result.std == pytest.approx(np.std(accuracies))  # population, not sample


def test_thresholds_are_the_published_ones():
    assert DISTANCES.size == 400
    assert (DISTANCES[0], DISTANCES[-1]) == (0.0, pytest.approx(3.99))


def test_a_distance_equal_to_the_threshold_is_not_the_same_person():
    # d = 1 for the genuine pairs: the first threshold that accepts them is 1.01
    scores = np.array([0.5, -1.0, 0.5, -1.0])
    result = fold_accuracy(scores, np.array([True, False, True, False]), np.array([0, 0, 1, 1]))
    assert result.thresholds == (1.01, 1.01)


def test_failed_comparisons_are_wrong_for_genuine_and_right_for_impostor_pairs():
    scores = np.array([0.9, -np.inf, 0.9, -np.inf])
    fold = np.array([0, 0, 1, 1])
    assert fold_accuracy(scores, np.array([True, True, True, True]), fold).mean == 0.5
    assert fold_accuracy(scores, np.array([True, False, True, False]), fold).mean == 1.0


def test_folds_may_be_numbered_freely_and_one_may_be_empty():
    scores, same = np.array([0.9, 0.1, 0.9, 0.1]), np.array([True, False, True, False])
    result = fold_accuracy(scores, same, np.array([7, 7, -3, -3]))
    assert result.folds == (-3, 7)
    assert result.mean == 1.0


@pytest.mark.parametrize("count", [0, 3])
def test_fewer_than_two_folds_have_no_accuracy(count):
    result = fold_accuracy(np.zeros(count), np.zeros(count, bool), np.zeros(count, int))
    assert np.isnan([result.mean, result.std]).all()
    assert result.folds == ()


def test_lengths_must_agree():
    with pytest.raises(ShapeError, match="2 vs 3"):
        fold_accuracy(np.zeros(2), np.zeros(2, bool), np.zeros(3, int))
