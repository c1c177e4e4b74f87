"""The whole set of figures on a case worked by hand, and its parts on real-sized data."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mfrkit.errors import InputError
from mfrkit.metrics.verification import Spread, fisher_ratio, spread, verify


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
