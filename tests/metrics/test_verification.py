"""Fold accuracy against a slow recomputation that follows the procedure literally."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import KFold

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.verification import (
    DISTANCES,
    Spread,
    fisher_ratio,
    fold_accuracy,
    spread,
    verify,
)


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


def test_figures_by_hand():
    scores = np.array([0.8, 0.6, 0.4, 0.5, 0.1, 0.0, -np.inf, -np.inf])
    same = np.array([True, True, True, False, False, False, True, False])
    fold = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    result = verify(scores, same, fold, far=(0.25,))
    assert (result.genuine.count, result.genuine.failed) == (4, 1)
    assert (result.impostor.count, result.impostor.failed) == (4, 1)
    assert result.genuine.mean == pytest.approx(0.6)
    assert result.impostor.mean == pytest.approx(0.2)
    assert result.genuine.std**2 == pytest.approx(0.08 / 3)
    assert result.fdr == pytest.approx(0.16 / (0.08 / 3 + 0.14 / 3))
    assert result.fmr100.threshold == 0.6
    assert result.fmr100.fnmr == 0.5
    assert not result.fmr100.enough_impostors
    assert (result.tar[0].far, result.tar[0].tar) == (0.25, 0.75)
    # 0.8 and 0.6 beat all four impostors, 0.4 beats three, the failed one ties with one failed
    assert result.auc == pytest.approx((4 + 4 + 3 + 0.5) / 16)
    # FMR 0, FNMR 1/2 at 0.6; 1/4, 1/2 at 0.5; 1/4, 1/4 at 0.4
    assert result.eer.rate == 0.25
    assert result.eer.threshold == 0.4


def test_spread_of_nothing():
    assert spread(np.zeros(0)).count == 0
    assert np.isnan(spread(np.full(3, -np.inf)).mean)


def test_fisher_ratio_without_variance():
    assert fisher_ratio(Spread(1, 0, 1.0, 0.0), Spread(1, 0, 0.0, 0.0)) == np.inf
    assert np.isnan(fisher_ratio(Spread(1, 0, 1.0, 0.0), Spread(1, 0, 1.0, 0.0)))


def test_single_precision_scores_are_taken():
    scores = np.array([0.9, 0.1, 0.9, 0.1], dtype=np.float32)
    result = verify(scores, np.array([True, False, True, False]), np.array([0, 0, 1, 1]))
    assert result.accuracy.mean == 1.0


def test_a_bad_rate_is_refused():
    with pytest.raises(InputError, match="FAR 2"):
        verify(np.array([0.9, 0.1]), np.array([True, False]), np.array([0, 1]), far=(2.0,))


def test_a_million_scores():
    random = np.random.default_rng(0)
    count = 1_000_000
    same = random.random(count) < 0.5
    scores = np.clip(random.normal(np.where(same, 0.5, 0.0), 0.2), -1, 1)
    result = verify(scores, same, np.arange(count) * 10 // count)
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-9)


FAR = (1e-1, 1e-2, 1e-3)


@pytest.fixture(scope="module")
def case():
    """Ten folds of 300 + 300 pairs; every third score is rounded, so that some agree."""
    random = np.random.default_rng(2021)
    same = np.arange(6000) % 600 < 300
    scores = np.clip(random.normal(np.where(same, 0.5, 0.02), 0.16), -1, 1)
    scores[::3] = np.round(scores[::3], 2)
    return scores, same, np.arange(6000) // 600, verify(scores, same, np.arange(6000) // 600, FAR)


def facenet_accuracies(distances, same):
    """The 10-fold procedure of facenet's evaluation, one decision at a time."""
    thresholds = np.arange(0, 4, 0.01)
    accuracies = []
    for train, test in KFold(n_splits=10, shuffle=False).split(distances):
        shares = [
            np.mean(np.less(distances[train], threshold) == same[train]) for threshold in thresholds
        ]
        decided = np.less(distances[test], thresholds[np.argmax(shares)])
        right = np.sum(decided & same[test]) + np.sum(~decided & ~same[test])
        accuracies.append(float(right) / test.size)
    return accuracies


def test_accuracy_is_that_of_the_facenet_procedure_digit_for_digit(case):
    scores, same, _, result = case
    expected = facenet_accuracies(2 - 2 * scores, same)
    assert list(result.accuracy.accuracies) == expected
    assert result.accuracy.mean == np.mean(expected)
    assert result.accuracy.std == np.std(expected)


def test_accuracy_of_unit_vectors_is_that_of_their_squared_distances():
    random = np.random.default_rng(4)
    a, b = random.normal(size=(2, 6000, 8))
    same = np.arange(6000) % 600 < 300
    b[same] = a[same] + 0.7 * b[same]
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    result = verify(np.einsum("ij,ij->i", a, b), same, np.arange(6000) // 600)
    assert list(result.accuracy.accuracies) == facenet_accuracies(((a - b) ** 2).sum(1), same)


def test_area_and_curve_are_those_of_scikit_learn(case):
    scores, same, _, result = case
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    fpr, tpr, thresholds = roc_curve(same, scores, drop_intermediate=False)
    for point in result.tar:
        allowed = np.flatnonzero(fpr <= point.target)[-1]
        assert (point.far, point.tar) == pytest.approx((fpr[allowed], tpr[allowed]), abs=1e-12)
        assert point.threshold == thresholds[allowed]


def test_figures_are_those_of_brute_force(case):
    scores, same, _, result = case
    genuine, impostor = scores[same], scores[~same]
    levels = np.unique(scores)[::-1]
    fmr = np.array([(impostor >= t).mean() for t in levels])
    fnmr = np.array([(genuine < t).mean() for t in levels])
    wins = (genuine[:, None] > impostor).mean() + (genuine[:, None] == impostor).mean() / 2
    assert result.auc == pytest.approx(wins, abs=1e-12)
    assert result.fmr100.fnmr == pytest.approx(fnmr[fmr <= 0.01].min(), abs=1e-12)
    assert result.fmr1000.fnmr == pytest.approx(fnmr[fmr <= 0.001].min(), abs=1e-12)
    after = int(np.flatnonzero(fmr >= fnmr)[0])
    lower, upper = fmr[after - 1], fmr[after]
    share = (fnmr[after - 1] - lower) / (fnmr[after - 1] - lower + upper - fnmr[after])
    assert result.eer.rate == pytest.approx(lower + share * (upper - lower), abs=1e-12)
    spread = genuine.var() + impostor.var()
    assert result.fdr == pytest.approx((genuine.mean() - impostor.mean()) ** 2 / spread)
