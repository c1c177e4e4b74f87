"""Colour, noise and sharpness read off pictures in which they are known."""

import cv2
import numpy as np
import pytest
import torch

from mfrkit.masks.camera import PATCHES, read_camera
from mfrkit.masks.canvas import NoiseTiles
from mfrkit.masks.pose import fit_pose

POINTS = np.array([[[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]]], dtype=np.float64)


def read(picture: np.ndarray, points=POINTS):
    faces = torch.tensor(picture, dtype=torch.float32).permute(2, 0, 1)[None]
    return read_camera(faces, [0], fit_pose(points))


def test_colour_is_that_of_the_skin_patches():
    picture = np.zeros((112, 112, 3))
    picture[:, :56], picture[:, 56:] = (0.8, 0.6, 0.4), (0.4, 0.3, 0.2)
    patches = read(picture).patches[0]
    for (x, _, _), color in zip(PATCHES, patches, strict=True):
        if abs(x) > 0.15:
            np.testing.assert_allclose(color, (0.8, 0.6, 0.4) if x < 0 else (0.4, 0.3, 0.2), 1e-6)


@pytest.mark.parametrize("deviation", [0.004, 0.02])
def test_the_renderers_own_grain_is_measured_as_what_it_is(deviation):
    grain = NoiseTiles().grain[:112, :112].numpy()[..., None].repeat(3, axis=2)
    shading = np.linspace(0.3, 0.7, 112)[:, None, None]
    assert read(shading + deviation * grain).noise[0] == pytest.approx(deviation, rel=0.25)


def test_a_blurred_photo_is_told_from_a_sharp_one():
    picture = np.full((112, 112, 3), 0.7)
    for x in (38, 74):
        picture[49:55, x - 6 : x + 7] = 0.1
    sharp, soft = (read(cv2.GaussianBlur(picture, (0, 0), s)).blur[0] for s in (0.5, 1.6))
    assert sharp == pytest.approx(1.0, abs=0.1)
    assert soft > 1.8


def test_faces_at_the_border_or_beyond_give_finite_numbers():
    camera = read(np.full((40, 40, 3), 0.5), POINTS - 60)
    assert np.isfinite(camera.patches).all()
    assert camera.noise[0] == 0
