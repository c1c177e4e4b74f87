"""Masks on arrays."""

import numpy as np
import pytest

import mfrkit
from mfrkit.errors import InputError, ShapeError


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (3, 112, 112, 3), dtype=np.uint8)


def test_a_face_wears_the_same_mask_in_every_batch(faces):
    before = faces.copy()
    draw = mfrkit.MaskRenderer()
    whole, part = draw(faces, seed=5), draw(faces[1:2], seed=5)
    assert np.array_equal(faces, before)
    assert np.array_equal(whole.faces[1], part.faces[0])
    assert np.array_equal(whole.regions[1], part.regions[0])
    assert whole.specs != draw(faces, seed=6).specs
    assert (np.mean(whole.regions > 127, axis=(1, 2)) > 0.08).all()


def test_kinds_and_colours_are_those_asked_for(faces):
    drawn = mfrkit.MaskRenderer("n95", color="#1e90ff")(faces)
    assert {spec.kind for spec in drawn.specs} == {"n95"}
    with pytest.raises(InputError, match="surgicl"):
        mfrkit.MaskRenderer("surgicl")


def test_what_is_no_aligned_crop_needs_points(faces):
    photo = np.full((1, 90, 80, 3), 128, np.uint8)
    with pytest.raises(ShapeError, match="80x90"):
        mfrkit.MaskRenderer()(photo)
    points = np.array([[[30, 35], [50, 35], [40, 47], [32, 60], [48, 60]]], float)
    region = mfrkit.MaskRenderer()(photo, points).regions[0]
    assert region.any()
    assert not region[:25].any()
    with pytest.raises(ShapeError, match="float64"):
        mfrkit.MaskRenderer()(faces / 255)
