"""Resampling through running sums against torch's own area interpolation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mfrkit.faces.pyramid import IntegralPhotos

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
