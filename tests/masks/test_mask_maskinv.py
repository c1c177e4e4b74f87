"""The MaskInv paste against the numbers its published code gives."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from mfrkit.faces.geometry import template
from mfrkit.masks.flat_paste import draw_artwork, fit_homography, paste
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.spec import sample_spec

SOURCE = np.array([[[678, 464], [548, 614], [991, 664], [1009, 64], [557, 64]]], dtype=float)
LANDED = [(52.1, 77.6), (61.8, 89.5), (30.3, 89.8), (31.5, 51.1), (62.4, 48.9)]


@pytest.fixture(scope="module")
def artwork():
    return draw_artwork()


def drawn(artwork, color: int, kind: str = "maskinv", face: float = 0.4):
    spec = sample_spec(0, "a", MaskOptions(types={kind: 1.0}, jitter=0))
    spec = dataclasses.replace(spec, color=(color / 255,) * 3)
    points = torch.tensor(template(), dtype=torch.float32)[None]
    return paste(torch.full((1, 3, 112, 112), face), points, [spec], artwork)


def test_artwork_has_the_published_extent_and_brightness(artwork):
    shade, opacity = artwork.numpy()
    rows, columns = np.flatnonzero(opacity.any(1)), np.flatnonzero(opacity.any(0))
    assert shade.shape == (1085, 1627)
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (244, 1330, 185, 981)
    assert shade[opacity == 255].mean() == pytest.approx(232.6, abs=1)
    assert shade[opacity == 255].min() == 59


def test_points_land_where_the_published_fit_puts_them():
    homography = fit_homography((0, 0), centred=False)
    np.testing.assert_allclose(cv2.perspectiveTransform(SOURCE, homography)[0], LANDED, atol=0.06)
    assert homography[0, 2] == pytest.approx(115.476, abs=1e-3)
    assert homography[1, 2] == pytest.approx(39.647, abs=1e-3)
    moved = cv2.perspectiveTransform(SOURCE, fit_homography((0, 0), centred=True))[0]
    np.testing.assert_allclose(moved, np.array(LANDED) + np.array([8, 0]), atol=0.06)


@pytest.mark.parametrize(("color", "mean"), [(0, 23), (75, 98), (149, 172)])
def test_colours_wrap_round_as_published(artwork, color, mean):
    masked, region = drawn(artwork, color)
    solid = region[0] == 1
    assert 255 * masked[0, :, solid].mean() == pytest.approx(mean, abs=6)


def test_coverage_and_place_are_the_published_ones(artwork):
    _, region = drawn(artwork, 0)
    inside = region[0] > 0.5
    columns = torch.nonzero(inside.any(dim=0))[:, 0]
    assert inside.float().mean() == pytest.approx(0.271, abs=0.01)
    assert (columns[0], columns[-1]) == (pytest.approx(13, abs=1), pytest.approx(89, abs=1))
    _, centred = drawn(artwork, 0, "maskinv-centred")
    assert (
        torch.equal(centred[0, :, 8:] > 0.5, inside[:, :-8])
        or ((centred[0, :, 8:] > 0.5) != inside[:, :-8]).float().mean() < 0.01
    )


def test_one_pixel_against_the_formula(artwork):
    """Half covered: cyan, magenta and yellow from the artwork, black from its opacity, modulo."""
    plain = torch.zeros_like(artwork)
    plain[0], plain[1] = 200.0, 128.0
    masked, region = drawn(plain, 30, face=100 / 255)
    share = 128 / 255
    value = share * (255 * (1 - (200 / 2.55 + 128 / 2.55) / 100) + 30) + (1 - share) * 100
    assert region[0, 80, 50] == pytest.approx(share)
    assert masked[0, 0, 80, 50] * 255 == pytest.approx(int(value) % 256, abs=1e-3)


def test_training_shifts_stay_in_range_and_evaluation_has_none():
    def shifts(jitter):
        options = MaskOptions(types={"maskinv": 1.0}, jitter=jitter)
        specs = [sample_spec(0, str(i), options) for i in range(400)]
        assert all(round(255 * c) in range(150) for spec in specs for c in spec.color)
        return np.array([(spec.shift_x, spec.shift_y) for spec in specs])

    assert not shifts(0.0).any()
    moved = shifts(1.0)
    assert (moved.min(0) == (-10, -40)).all()
    assert (moved.max(0) == (9, 39)).all()
