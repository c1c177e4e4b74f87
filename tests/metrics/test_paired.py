"""Paired tests against SciPy's exact binomial test and cases by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mfrkit.errors import ShapeError
from mfrkit.metrics.bootstrap import PairSubjects, bootstrap
from mfrkit.metrics.paired import difference, mcnemar


@pytest.mark.parametrize(("only_first", "only_second"), [(1, 0), (3, 9), (40, 41), (200, 120)])
def test_p_is_that_of_the_binomial_test(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True] * 50 + [False] * 7)
    second = np.array([False] * only_first + [True] * only_second + [True] * 50 + [False] * 7)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    expected = binomtest(only_first, only_first + only_second).pvalue
    assert found.p == pytest.approx(expected, rel=1e-9)


def test_systems_that_decide_alike_do_not_differ():
    assert mcnemar(np.ones(9, bool), np.ones(9, bool)).p == 1.0
    with pytest.raises(ShapeError, match="9 vs 8"):
        mcnemar(np.ones(9, bool), np.ones(8, bool))


def test_a_system_does_not_differ_from_itself():
    samples = np.random.default_rng(0).normal(size=999)
    found = difference(0.0, samples, samples, 0.95)
    assert (found.interval.low, found.interval.high, found.p) == (0.0, 0.0, 1.0)


def test_turned_resamples_are_counted_by_hand():
    # 3 of 99 resamples turn the sign: p = 2 (1 + 3) / (1 + 99)
    gaps = np.append(np.full(96, 1.0), [-1.0, -1.0, 0.0])
    assert difference(1.0, gaps, np.zeros(99), 0.95).p == pytest.approx(0.08)
    assert np.isnan(difference(np.nan, np.full(3, np.nan), np.zeros(3), 0.95).p)


def test_pairing_finds_a_small_difference_that_overlapping_intervals_hide():
    random = np.random.default_rng(0)
    same = np.arange(2000) < 1000
    scores = np.clip(random.normal(np.where(same, 0.3, 0.0), 0.15), -1, 1)
    worse = np.clip(scores - 0.02 * same, -1, 1)
    people = PairSubjects(np.arange(2000), np.arange(2000), 2000)
    fold = np.arange(2000) % 10
    a, b = (bootstrap(s, same, fold, people, resamples=400)["eer"] for s in (worse, scores))
    assert np.quantile(b, 0.975) > np.quantile(a, 0.025)
    assert difference(float(a.mean() - b.mean()), a, b, 0.95).interval.low > 0
