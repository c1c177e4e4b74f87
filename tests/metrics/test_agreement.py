"""6,000 scores measured by others: scikit-learn, the facenet procedure, and brute force."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import KFold

from mfrkit.metrics.verification import verify

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
