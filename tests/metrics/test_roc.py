"""The curve of error rates against scikit-learn, and what counts as accepted."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.rates import roc, roc_from_counts

FAILED = -np.inf


def draw(seed: int, count: int = 400, ties: bool = True):
    """Scores of both kinds, rounded so that many agree."""
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.4
    scores = np.where(same, random.normal(0.6, 0.3, count), random.normal(0.1, 0.2, count))
    return np.round(scores, 2) if ties else scores, same


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


def test_no_pairs_at_all():
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
