"""All comparisons, against full matrices in numpy."""

import numpy as np
import pytest

from mfrkit.metrics import all_pairs
from mfrkit.metrics.all_pairs import (
    BINS,
    SCALE,
    FaceBlock,
    PairCounter,
    equal_pairs,
    pair_totals,
    to_histogram,
    unit_rows,
)

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
