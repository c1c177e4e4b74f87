"""The scan plan covers every window of every level of every photo exactly once."""

from collections import Counter

import numpy as np
import pytest

from mfrkit.faces import pyramid as module
from mfrkit.faces.pyramid import plan, pyramid


def windows(rows, columns):
    """Answers P-Net gives for an input: a cell for each started stride beyond the window."""
    return -(-(rows - 10) // 2), -(-(columns - 10) // 2)


@pytest.mark.parametrize("budget", [1 << 18, 2000, 100, 1])
def test_each_window_once(monkeypatch, budget):
    monkeypatch.setattr(module, "_BATCH_PIXELS", budget)
    sizes = np.array([[250, 250], [61, 250], [250, 250], [400, 37], [12, 900], [90, 91]])
    seen = Counter()
    for strips in plan(sizes, min_size=24):
        for photo, grid, first, rows in zip(
            strips.photo, strips.grids, strips.first_row, strips.rows, strict=True
        ):
            assert first % 2 == 0
            assert rows >= 12 or first > 0
            assert first + rows <= grid[0]
            down, across = windows(rows, grid[1])
            seen.update((photo, *grid, first // 2 + i, across) for i in range(down))
    expected = Counter(
        (photo, *grid, i, windows(*grid)[1])
        for photo, (height, width) in enumerate(sizes.tolist())
        for _, grid in pyramid(height, width, 24)
        for i in range(windows(*grid)[0])
    )
    assert seen == expected


def test_strips_of_one_level_share_its_number_and_no_other_does(monkeypatch):
    monkeypatch.setattr(module, "_BATCH_PIXELS", 3000)
    owners = {}
    for strips in plan(np.array([[250, 250], [250, 250]]), min_size=40):
        for photo, level, scale in zip(strips.photo, strips.level, strips.scale, strict=True):
            assert owners.setdefault(level, (photo, scale)) == (photo, scale)
    assert len(owners) == 2 * len(list(pyramid(250, 250, 40)))


def test_batches_are_bounded_and_little_is_padding():
    rng = np.random.default_rng(0)
    for strips in plan(rng.integers(100, 1500, (40, 2)), min_size=40):
        height, width = strips.canvas
        assert len(strips.photo) * height * width <= 1 << 18
        assert strips.extents.prod(1).sum() > 0.6 * len(strips.photo) * height * width


def test_photos_of_one_size_share_every_batch():
    for strips in plan(np.array([[250, 250]] * 32), min_size=60):
        assert len(strips.photo) == 32
        assert (strips.extents == strips.canvas).all()


def test_too_small_for_a_face():
    assert plan(np.array([[39, 500]]), min_size=40) == []
    assert list(pyramid(39, 500, 40)) == []
    assert len(list(pyramid(40, 500, 40))) == 1
