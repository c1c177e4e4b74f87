"""AUC, equal error and operating points: scikit-learn, brute force, and cases by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.rates import (
    Decisions,
    auc,
    calibrate,
    decide,
    equal_error,
    operating_point,
    roc,
    roc_from_counts,
)

FAILED = -np.inf


def draw(seed: int, count: int = 400, ties: bool = True):
    """Scores of both kinds, rounded so that many agree."""
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.4
    scores = np.where(same, random.normal(0.6, 0.3, count), random.normal(0.1, 0.2, count))
    return np.round(scores, 2) if ties else scores, same


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_that_of_scikit_learn(seed):
    scores, same = draw(seed)
    assert auc(roc(scores, same)) == pytest.approx(roc_auc_score(same, scores), abs=1e-12)


def test_auc_counts_failed_comparisons_as_ties_below_all_others():
    scores, same = draw(9)
    scores[::7] = FAILED
    finite = np.where(np.isfinite(scores), scores, -99.0)
    assert auc(roc(scores, same)) == pytest.approx(roc_auc_score(same, finite), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_equal_error_is_where_the_interpolated_curve_crosses(seed):
    scores, same = draw(seed)
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    # fpr may hold steps, so walk along the curve's length instead of along one axis
    position = np.arange(fpr.size)
    root = brentq(
        lambda x: np.interp(x, position, fpr) - 1 + np.interp(x, position, tpr), 0, fpr.size - 1
    )
    rate = np.interp(root, position, fpr)
    assert equal_error(roc(scores, same)).rate == pytest.approx(rate, abs=1e-9)


def test_equal_error_by_hand():
    # Between 0.9 (FMR 0, FNMR 2/3) and 0.8 (1/2, 1/3): they meet at 2/5 and 2/5, 4/5 of the way.
    scores = np.array([0.9, 0.8, 0.7, 0.8, 0.1])
    result = equal_error(roc(scores, np.array([True, True, True, False, False])))
    assert result.rate == pytest.approx(0.4)
    assert result.threshold == pytest.approx(0.82)


def test_operating_points_by_hand():
    same = np.array([True] * 4 + [False] * 4)
    curve = roc(np.array([0.9, 0.7, 0.5, 0.3, 0.8, 0.4, 0.2, 0.1]), same)
    strict, half, all_of_them = (operating_point(curve, t) for t in (0.2, 0.5, 1.0))
    assert (strict.threshold, strict.far, strict.tar) == (0.9, 0.0, 0.25)
    assert (half.threshold, half.far, half.tar) == (0.3, 0.5, 1.0)
    assert (all_of_them.threshold, all_of_them.far, all_of_them.tar) == (0.1, 1.0, 1.0)
    assert half.fnmr == 0.0


def test_an_impostor_on_top_leaves_only_rejecting_all():
    point = operating_point(roc(np.array([0.5, 0.9]), np.array([True, False])), 0.001)
    assert (point.threshold, point.far, point.tar) == (np.inf, 0.0, 0.0)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.01, 0.05, 0.29, 0.5]))
def test_operating_point_is_the_best_of_all_thresholds(seed, target):
    scores, same = draw(seed, count=120)
    scores[::11] = FAILED
    point = operating_point(roc(scores, same), target)
    genuine, impostor = scores[same], scores[~same]
    candidates = [np.inf, *np.unique(scores[np.isfinite(scores)])]
    allowed = [t for t in candidates if (impostor >= t).mean() <= target]
    assert point.threshold == min(allowed)
    assert point.tar == pytest.approx(max((genuine >= t).mean() for t in allowed))
    assert point.far <= target


@pytest.mark.parametrize(("impostors", "enough"), [(99, False), (100, True), (1000, True)])
def test_too_few_impostors_are_flagged(impostors, enough):
    scores = np.zeros(impostors + 1)
    same = np.arange(impostors + 1) == 0
    assert operating_point(roc(scores, same), 0.01).enough_impostors is enough


def test_a_target_met_exactly_counts_as_met():
    # 29 of 100 impostors lie above the genuine score; 0.29 * 100 is 28.999... in binary
    scores = np.append(np.arange(100) / 100, 0.705)
    point = operating_point(roc(scores, np.arange(101) == 100), 0.29)
    assert (point.far, point.tar) == (0.29, 1.0)


def test_rates_that_never_meet_have_no_equal_error():
    scores = np.array([0.9, FAILED, FAILED, 0.1, FAILED, FAILED])
    assert np.isnan(equal_error(roc(scores, np.arange(6) < 3)).rate)


@pytest.mark.parametrize("same", [True, False])
def test_one_kind_alone_has_no_error_rates(same):
    curve = roc(np.array([0.1, 0.2]), np.array([same, same]))
    point = operating_point(curve, 0.1)
    assert np.isnan([auc(curve), equal_error(curve).rate, point.tar, point.far]).all()
    assert not point.enough_impostors


def test_all_failed():
    curve = roc(np.full(4, FAILED), np.arange(4) < 2)
    assert curve.tar.tolist() == [0.0]
    assert auc(curve) == 0.5


def test_failed_comparisons_enter_the_equal_error():
    scores = np.array([0.9, FAILED, 0.1, FAILED])
    assert equal_error(roc(scores, np.array([True, True, False, False]))).rate == 0.5


def test_no_pairs_at_all():
    assert np.isnan(auc(roc(np.zeros(0), np.zeros(0, dtype=bool))))


@pytest.mark.parametrize("target", [0.0, -1.0, 1.5, np.nan])
def test_impossible_targets_are_refused(target):
    with pytest.raises(InputError, match="FAR"):
        operating_point(roc(np.zeros(2), np.array([True, False])), target)


@pytest.mark.parametrize("seed", range(5))
def test_curve_is_that_of_scikit_learn(seed):
    scores, same = draw(seed)
    curve = roc(scores, same)
    fpr, tpr, thresholds = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fmr, fpr, rtol=1e-12)
    np.testing.assert_allclose(curve.tar, tpr, rtol=1e-12)
    np.testing.assert_allclose(curve.thresholds, thresholds)
    np.testing.assert_allclose(curve.fnmr, 1 - tpr, atol=1e-12)


def test_failed_comparisons_are_never_accepted():
    scores = np.array([0.9, FAILED, 0.1, FAILED])
    curve = roc(scores, np.array([True, True, False, False]))
    assert curve.tar.max() == 0.5
    assert curve.fmr.max() == 0.5


def test_no_pairs_at_all_leave_the_point_that_accepts_nothing():
    curve = roc(np.zeros(0), np.zeros(0, dtype=bool))
    assert curve.thresholds.tolist() == [np.inf]


def test_histogram_gives_the_curve_of_its_levels():
    scores, same = draw(3)
    levels = np.unique(scores)
    place = np.searchsorted(levels, scores)
    genuine = np.bincount(place[same], minlength=levels.size)
    impostor = np.bincount(place[~same], minlength=levels.size)
    built, direct = roc_from_counts(levels, genuine, impostor, np.array([2, 3])), roc(scores, same)
    assert built.thresholds.tolist() == direct.thresholds.tolist()
    assert built.accepted_genuine.tolist() == direct.accepted_genuine.tolist()
    assert built.accepted_impostor.tolist() == direct.accepted_impostor.tolist()
    assert (built.genuine, built.impostor) == (direct.genuine + 2, direct.impostor + 3)


def test_arguments_are_left_as_they_were():
    scores, same = draw(1)
    before = scores.copy()
    roc(scores, same)
    assert np.array_equal(scores, before)


def test_bad_arguments_are_refused():
    same = np.array([True, False])
    with pytest.raises(ShapeError, match=r"\(3,\) vs \(2,\)"):
        roc(np.zeros(3), same)
    with pytest.raises(ShapeError, match="must be bool"):
        roc(np.zeros(2), np.array([1, 0]))
    for score in (np.nan, np.inf):
        with pytest.raises(InputError, match="NaN or"):
            roc(np.array([0.5, score]), same)
    with pytest.raises(ShapeError):
        roc_from_counts(np.zeros(2), np.zeros(2, int), np.zeros(3, int), np.zeros(2, int))


def draw_overlapping(seed: int, count: int = 500):
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.4
    return np.round(random.normal(np.where(same, 0.6, 0.1), 0.25), 2), same


@pytest.mark.parametrize("threshold", [-1.0, 0.21, 0.5, np.inf])
def test_decisions_are_those_of_scikit_learn(threshold):
    scores, same = draw_overlapping(0)
    matrix = confusion_matrix(same, scores >= threshold)
    found = decide(scores, same, threshold)
    assert found == Decisions(matrix[1].sum(), matrix[0].sum(), matrix[1, 0], matrix[0, 1])
    assert found.accuracy == pytest.approx(np.trace(matrix) / matrix.sum())


def test_failed_comparisons_are_never_decided_for():
    found = decide(np.full(4, -np.inf), np.arange(4) < 3, -1.0)
    assert (found.fnmr, found.fmr) == (1.0, 0.0)


def test_no_comparisons_have_no_rates():
    found = decide(np.zeros(0), np.zeros(0, bool), 0.5)
    assert np.isnan([found.fmr, found.fnmr, found.accuracy]).all()


@pytest.mark.parametrize("target", [0.01, 0.05, 0.3])
def test_no_lower_score_keeps_to_the_rate(target):
    scores, same = draw_overlapping(1)
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
