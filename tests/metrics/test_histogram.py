"""Counting scores in bins, against numpy and against the curve of the scores themselves."""

import numpy as np
import pytest

from mfrkit.errors import ShapeError
from mfrkit.metrics.all_pairs import (
    BINS,
    SCALE,
    ScoreHistogram,
    count_bins,
    lower_edges,
    spread_of_counts,
    to_bins,
)
from mfrkit.metrics.rates import auc, equal_error, operating_point, roc
from mfrkit.metrics.verification import spread

RANDOM = np.random.default_rng(3)


def bins_of(scores):
    scaled = np.asarray(scores, np.float32) * np.float32(SCALE)
    out = np.empty(scaled.shape, np.int16)
    to_bins(scaled, out)
    return out


def counts_of(scores):
    return count_bins(bins_of(scores))


@pytest.mark.parametrize("count", [0, 1, 1000, 2**18 - 1, 2**18 + 5])  # both ways of counting
def test_counts_are_those_of_numpy(count):
    scores = RANDOM.uniform(-1, 1, count).astype(np.float32)
    expected, _ = np.histogram(np.floor(scores * np.float32(SCALE)), np.arange(BINS + 1) - 2**15)
    assert (counts_of(scores) == expected).all()


def test_a_score_falls_into_the_bin_whose_edge_it_reaches():
    edges = lower_edges()
    for score in (-1.0, -0.5, -1e-6, 0.0, 1e-6, 0.25, 1.0):
        place = int(np.flatnonzero(counts_of([score]))[0])
        assert edges[place] - 1e-7 <= score < edges[min(place + 1, BINS - 1)] + 1e-4


def test_products_that_round_beyond_one_stay_at_the_ends():
    assert bins_of([1.0000002]).tolist() == [32767]
    assert bins_of([-1.0000002]).tolist() == [-32768]


def test_counting_refuses_what_it_cannot_count_exactly():
    with pytest.raises(ShapeError):
        count_bins(np.zeros((2, 2), np.int16))
    with pytest.raises(ShapeError):
        count_bins(np.broadcast_to(np.int16(0), 2**24 + 1))


def test_figures_agree_with_those_of_the_scores():
    genuine = np.clip(RANDOM.normal(0.5, 0.2, 3000), -1, 1)
    impostor = np.clip(RANDOM.normal(0.0, 0.1, 50_000), -1, 1)
    scores = np.append(genuine, impostor)
    exact = roc(scores, np.arange(scores.size) < genuine.size)
    curve = ScoreHistogram(counts_of(genuine), counts_of(impostor), np.zeros(2, np.int64)).roc
    assert auc(curve) == pytest.approx(auc(exact), abs=1e-6)
    assert equal_error(curve).rate == pytest.approx(equal_error(exact).rate, abs=1e-4)
    for target in (1e-2, 1e-3, 1e-4):
        point = operating_point(curve, target)
        assert point.far == np.mean(impostor >= point.threshold - 1e-9) <= target
        assert point.tar == np.mean(genuine >= point.threshold - 1e-9)
        assert operating_point(exact, target).tar - 0.002 <= point.tar


def test_spread_is_that_of_the_scores():
    scores = np.clip(RANDOM.normal(0.1, 0.2, 2000), -1, 1)
    expected, found = spread(np.append(scores, -np.inf)), spread_of_counts(counts_of(scores), 1)
    assert (found.count, found.failed) == (expected.count, expected.failed) == (2001, 1)
    assert found.mean == pytest.approx(expected.mean, abs=2e-5)
    assert found.std == pytest.approx(expected.std, abs=2e-5)


def test_no_scores_have_no_mean():
    nothing = spread_of_counts(np.zeros(BINS, np.int64), 3)
    assert (nothing.count, nothing.failed) == (3, 3)
    assert np.isnan(nothing.mean)
