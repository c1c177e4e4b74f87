"""What completed and masked pictures are judged by: overlap against scikit-learn, SSIM as OpenCV's
Gaussian gives it, the rest by hand."""

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from mfrkit.errors import ShapeError
from mfrkit.metrics.pictures import intersection_over_union, psnr_inside, ssim_inside


def test_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 5, 8, 6)) > 0.6
    found = intersection_over_union(a, b)
    wanted = [jaccard_score(y.ravel(), x.ravel()) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, wanted)


def test_nothing_found_where_nothing_is():
    empty, full = np.zeros((1, 2, 2), bool), np.ones((1, 2, 2), bool)
    assert intersection_over_union(empty, empty).tolist() == [1.0]
    assert intersection_over_union(full, empty).tolist() == [0.0]


def test_refuses_other_shapes():
    with pytest.raises(ShapeError, match="must be"):
        intersection_over_union(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 3), bool))


def test_psnr_by_hand():
    true = torch.zeros(2, 3, 2, 2)
    made = true.clone()
    made[0, :, 0, 0] = 0.1
    made[0, 0, 1, 1] = 1.0  # outside
    hole = torch.zeros(2, 1, 2, 2)
    hole[:, :, 0] = 1
    assert psnr_inside(made, true, hole).tolist() == pytest.approx(
        [-10 * np.log10(0.01 / 2), 100], abs=1e-4
    )


def reference(a, b):
    """SSIM of one channel, data in [0, 1], by Wang's formula."""

    def blur(x):
        return cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101)

    one, two = blur(a), blur(b)
    spread = blur(a * a) - one**2, blur(b * b) - two**2, blur(a * b) - one * two
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * one * two + c1) * (2 * spread[2] + c2)
    return top / ((one**2 + two**2 + c1) * (spread[0] + spread[1] + c2))


def test_ssim_against_the_formula():
    torch.manual_seed(0)
    made, true = torch.rand(2, 1, 3, 24, 24)
    hole = torch.zeros(1, 1, 24, 24)
    hole[..., 5:15, 8:20] = 1
    hole[..., 15, 8:20] = 0.5
    maps = [
        reference(a.double().numpy(), b.double().numpy())
        for a, b in zip(made[0], true[0], strict=True)
    ]
    weight = hole[0, 0].double().numpy()
    expected = (np.mean(maps, 0) * weight).sum() / weight.sum()
    assert ssim_inside(made, true, hole).item() == pytest.approx(expected, abs=1e-3)
    assert ssim_inside(true, true, hole).item() == pytest.approx(1)
