"""Scan plans cover every window once; running sums against torch's own area interpolation."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mfrkit.faces import pyramid as module
from mfrkit.faces.pyramid import IntegralPhotos, plan, pyramid


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


CPU = torch.device("cpu")


def by_torch(photo, rectangle, grid):
    x0, y0, x1, y1 = rectangle
    part = torch.from_numpy(photo[y0:y1, x0:x1]).permute(2, 0, 1)[None].double()
    return F.interpolate(part, size=tuple(grid), mode="area")[0] / 255


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in [(40, 30), (7, 61), (1, 1)]]


@pytest.mark.parametrize("size", [1, 3, 24, 48])
def test_crops_of_several_photos(photos, size):
    photo = np.array([0, 1, 0, 2, 1])
    boxes = np.array([[0, 0, 30, 40], [3, 2, 60, 7], [5, 6, 9, 8], [0, 0, 1, 1], [60, 6, 61, 7]])
    grids = np.full((5, 2), size)
    crops = IntegralPhotos(photos, CPU).resample(photo, boxes, grids, canvas=(size, size))
    expected = torch.stack(
        [by_torch(photos[p], b, (size, size)) for p, b in zip(photo, boxes, strict=True)]
    )
    torch.testing.assert_close(crops.double(), expected, atol=1e-6, rtol=0)


def test_rows_of_grids_of_several_sizes(photos):
    grids, first = np.array([[20, 11], [5, 8]]), np.array([4, 2])
    whole = np.array([[0, 0, 30, 40], [0, 0, 61, 7]])
    found = IntegralPhotos(photos, CPU).resample(
        np.array([0, 1]), whole, grids, first_row=first, canvas=(6, 11)
    )
    for i, (rows, columns) in enumerate([(6, 11), (3, 8)]):
        expected = by_torch(photos[i], whole[i], grids[i])[:, first[i] : first[i] + rows]
        got = found[i, :, :rows, :columns].double()
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert torch.isfinite(found).all()  # the padding, too


def test_sums_may_wrap_around():
    photo = np.full((3000, 3000, 3), 255, np.uint8)  # sums to 2.3e9, beyond int32
    photo[-1, -1] = 0
    sums = IntegralPhotos([photo], CPU)
    corner = np.array([[2998, 2998, 3000, 3000]])
    crop = sums.resample(np.array([0]), corner, np.array([[2, 2]]), canvas=(2, 2))
    assert crop[0, 0].tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_result_is_channels_last(photos):
    crops = IntegralPhotos(photos, CPU).resample(
        np.array([0]), np.array([[0, 0, 30, 40]]), np.array([[24, 24]]), canvas=(24, 24)
    )
    assert crops.is_contiguous(memory_format=torch.channels_last)


def test_an_array_that_is_not_contiguous():
    photo = np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    box, grid = np.array([[0, 0, 10, 20]]), np.array([[4, 4]])
    view, copy = (
        IntegralPhotos([p], CPU).resample(np.array([0]), box, grid, canvas=(4, 4))
        for p in (photo[:, ::-2], photo[:, ::-2].copy())
    )
    assert torch.equal(view, copy)
