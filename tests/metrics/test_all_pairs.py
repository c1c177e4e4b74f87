"""All comparisons, against full matrices in numpy."""

import numpy as np
import pytest

from mfrkit.errors import ShapeError
from mfrkit.metrics import all_pairs
from mfrkit.metrics.all_pairs import (
    BINS,
    SCALE,
    FaceBlock,
    PairCounter,
    ScoreHistogram,
    count_bins,
    equal_pairs,
    lower_edges,
    pair_totals,
    spread_of_counts,
    to_bins,
    to_histogram,
    unit_rows,
)
from mfrkit.metrics.rates import auc, equal_error, operating_point, roc
from mfrkit.metrics.verification import spread

RANDOM = np.random.default_rng(7)
DIM = 16


def draw(count, people=9, copies=2):
    """Unit vectors whose products are multiples of 1/4, exact in whatever order they are summed."""
    vectors = np.zeros((count, DIM), np.float32)
    for row in vectors:
        row[RANDOM.choice(DIM, 4, replace=False)] = RANDOM.choice([-0.5, 0.5], 4)
    person = RANDOM.integers(0, people, count)
    photo = person * 1000 + RANDOM.integers(0, max(1, count // copies // people), count)
    return FaceBlock(vectors, person, photo, np.arange(count))


def naive(a, b, within):
    """The two histograms from the whole matrix."""
    bins = np.floor((a.vectors @ b.vectors.T) * np.float32(SCALE)).astype(np.int64) + BINS // 2
    counted = a.photo[:, None] != b.photo
    if within:
        counted &= np.triu(np.ones_like(counted), 1)
    one = a.person[:, None] == b.person
    return [np.bincount(bins[counted & kind], minlength=BINS) for kind in (one, ~one)]


def count(a, b, within, rows, columns):
    counter = PairCounter(within=within)
    for start in range(0, len(a), rows):
        for begin in range(0, len(b), columns):
            counter.add(a.part(start, start + rows), b.part(begin, begin + columns))
    return counter.result()


@pytest.mark.parametrize("rows", [1, 5, 16, 64])
@pytest.mark.parametrize("columns", [1, 7, 16])
@pytest.mark.parametrize("within", [True, False])
def test_blocks_of_every_size_give_the_counts_of_the_matrix(monkeypatch, rows, columns, within):
    monkeypatch.setattr(all_pairs, "TILE", 16)
    a = draw(45)
    b = a if within else draw(38)
    found = count(a, b, within, rows, columns)
    for counts, expected in zip(found, naive(a, b, within), strict=True):
        assert (counts == expected).all()


def test_real_tiles_give_the_counts_of_the_matrix():
    a = draw(1300, people=40)
    found = count(a, a, True, 3000, all_pairs.TILE)
    for counts, expected in zip(found, naive(a, a, True), strict=True):
        assert (counts == expected).all()


def test_faces_left_out_change_nothing_else():
    a = draw(40)
    kept = np.flatnonzero(RANDOM.random(40) < 0.7)
    some = FaceBlock(a.vectors[kept], a.person[kept], a.photo[kept], kept)
    found = count(some, some, True, 16, 16)
    for counts, expected in zip(found, naive(some, some, True), strict=True):
        assert (counts == expected).all()


@pytest.mark.parametrize("within", [True, False])
def test_totals_are_those_of_the_matrix(within):
    a, b = draw(45), draw(38)
    b = a if within else b
    totals = pair_totals((a.person, a.photo), None if within else (b.person, b.photo))
    genuine, impostor = (int(counts.sum()) for counts in naive(a, b, within))
    assert (totals.genuine, totals.impostor) == (genuine, impostor)
    every = 45 * 44 // 2 if within else 45 * 38
    assert totals.same_photo == every - genuine - impostor


def test_comparisons_that_are_missing_have_failed():
    a = draw(20)
    totals = pair_totals((a.person, a.photo), None)
    counts = count(a.part(0, 15), a.part(0, 15), True, 16, 16)
    histogram = to_histogram(counts, totals)
    assert histogram.failed.min() >= 0
    scored = histogram.genuine.sum() + histogram.impostor.sum()
    assert scored + histogram.failed.sum() == totals.genuine + totals.impostor
    assert histogram.roc.genuine == totals.genuine


def test_equal_pairs_are_those_of_the_matrix():
    rows, columns = RANDOM.integers(0, 5, 30), RANDOM.integers(0, 5, 20)
    found = equal_pairs(rows, columns)
    expected = np.nonzero(rows[:, None] == columns)
    assert set(zip(*map(np.ndarray.tolist, found), strict=True)) == set(
        zip(*map(np.ndarray.tolist, expected), strict=True)
    )
    assert (np.diff(found[0]) >= 0).all()


def test_unit_rows_leaves_its_argument_alone():
    vectors = np.array([[3.0, 4.0], [np.inf, 1.0]], np.float32)
    before = vectors.copy()
    unit, usable = unit_rows(vectors)
    assert (vectors == before).all()
    assert usable.tolist() == [True, False]
    assert (unit[1] == 0).all()


SCORES = np.random.default_rng(3)


def bins_of(scores):
    scaled = np.asarray(scores, np.float32) * np.float32(SCALE)
    out = np.empty(scaled.shape, np.int16)
    to_bins(scaled, out)
    return out


def counts_of(scores):
    return count_bins(bins_of(scores))


@pytest.mark.parametrize("count", [0, 1, 1000, 2**18 - 1, 2**18 + 5])  # both ways of counting
def test_counts_are_those_of_numpy(count):
    scores = SCORES.uniform(-1, 1, count).astype(np.float32)
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
    genuine = np.clip(SCORES.normal(0.5, 0.2, 3000), -1, 1)
    impostor = np.clip(SCORES.normal(0.0, 0.1, 50_000), -1, 1)
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
    scores = np.clip(SCORES.normal(0.1, 0.2, 2000), -1, 1)
    expected, found = spread(np.append(scores, -np.inf)), spread_of_counts(counts_of(scores), 1)
    assert (found.count, found.failed) == (expected.count, expected.failed) == (2001, 1)
    assert found.mean == pytest.approx(expected.mean, abs=2e-5)
    assert found.std == pytest.approx(expected.std, abs=2e-5)


def test_no_scores_have_no_mean():
    nothing = spread_of_counts(np.zeros(BINS, np.int64), 3)
    assert (nothing.count, nothing.failed) == (3, 3)
    assert np.isnan(nothing.mean)
