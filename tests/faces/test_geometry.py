"""Template, fit and warp against hand-worked cases, an independent fit, and plain OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfrkit.errors import InputError, ShapeError
from mfrkit.faces.geometry import invert, similarity_from_points, template, transform_points, warp

PUBLISHED = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
]


def similarity(scale, angle, x, y):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def by_svd(points, target):
    """Umeyama 1991, equations 40 to 42."""
    source, goal = points - points.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(goal.T @ source / len(points))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / (source**2).sum(1).mean()
    shift = target.mean(0) - scale * rotation @ points.mean(0)
    return np.concatenate([scale * rotation, shift[:, None]], 1)


def test_plain_template_is_the_published_one():
    assert template().tolist() == PUBLISHED


def test_larger_templates_are_multiples():
    np.testing.assert_allclose(template(336), 3 * np.array(PUBLISHED))


def test_margin_shows_more_on_every_side():
    # A quarter of the side more on each side: the plain crop takes the middle two thirds.
    np.testing.assert_allclose(template(336, 0.25), 56 + 2 * np.array(PUBLISHED))


@pytest.mark.parametrize("size", [0, -112, 111, 128, 160])
def test_size_must_be_a_multiple(size):
    with pytest.raises(InputError, match="multiple of 112"):
        template(size)


@pytest.mark.parametrize("margin", [-0.1, 11, np.nan, np.inf])
def test_margin_must_be_a_share(margin):
    with pytest.raises(InputError, match="margin"):
        template(112, margin)


@given(
    scale=st.floats(0.01, 100),
    angle=st.floats(-np.pi, np.pi),
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
)
def test_fit_recovers_a_similarity(scale, angle, x, y):
    truth = similarity(scale, angle, x, y)
    points = transform_points(template(), invert(truth))
    np.testing.assert_allclose(similarity_from_points(points, template()), truth, atol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_fit_of_noisy_points_is_umeyamas(seed):
    points = np.random.default_rng(seed).normal(size=(5, 2)) * 40 + 100
    np.testing.assert_allclose(
        similarity_from_points(points, template()), by_svd(points, template()), atol=1e-8
    )


def test_fit_never_mirrors():
    mirrored = template() * [-1, 1]
    matrix = similarity_from_points(mirrored, template())
    assert np.linalg.det(matrix[:, :2]) > 0


def test_fit_of_a_batch_is_the_fit_of_each():
    points = np.random.default_rng(0).normal(size=(3, 4, 5, 2)) * 30
    together = similarity_from_points(points, template())
    assert together.shape == (3, 4, 2, 3)
    np.testing.assert_allclose(together[1, 2], similarity_from_points(points[1, 2], template()))
    np.testing.assert_allclose(
        transform_points(points, together)[1, 2], transform_points(points[1, 2], together[1, 2])
    )
    np.testing.assert_allclose(invert(together)[1, 2], invert(together[1, 2]))


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_points_without_extent(points):
    with pytest.raises(InputError, match="no crop can be fitted"):
        similarity_from_points(points, template())


@pytest.mark.parametrize("shape", [(5,), (4, 2), (5, 3)])
def test_points_of_the_wrong_shape(shape):
    with pytest.raises(ShapeError, match="expected points"):
        similarity_from_points(np.ones(shape), template())


def scene(height=300, width=280):
    """A smooth picture, different in every channel."""
    y, x = np.mgrid[:height, :width].astype(float)
    waves = [np.sin(x / 17 + y / 23), np.cos(x / 29), np.sin(y / 13)]
    return (np.stack(waves, 2) * 110 + 128).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 2.5])
def test_warp_is_opencvs_when_nothing_shrinks_much(scale):
    matrix = similarity(scale, 0.3, -20, 10)
    expected = cv2.warpAffine(scene(), matrix, (112, 112), flags=cv2.INTER_LINEAR)
    difference = warp(scene(), matrix, 112).astype(int) - expected
    assert np.abs(difference).max() <= 1


def test_warp_puts_pixels_where_the_matrix_says():
    photo = np.zeros((50, 60, 3), np.uint8)
    photo[20, 30] = [200, 100, 50]
    crop = warp(photo, np.array([[1.0, 0, -25], [0, 1.0, -13]]), 112)
    assert crop[7, 5].tolist() == [200, 100, 50]
    assert crop.sum() == 350


@pytest.mark.parametrize("scale", [0.49, 0.31, 0.2, 0.05])
def test_shrinking_warp_keeps_geometry(scale):
    photo = cv2.resize(scene(), None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    matrix = similarity(scale, 0.2, 30, -25)
    # Sampling a smooth picture needs no averaging: plain OpenCV is the reference.
    expected = cv2.warpAffine(photo, matrix, (112, 112), flags=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(np.ones(photo.shape[:2]), matrix, (112, 112)) == 1
    inside = cv2.erode(
        inside.astype(np.uint8), np.ones((5, 5)), borderType=cv2.BORDER_CONSTANT, borderValue=0
    ).astype(bool)
    assert inside.sum() > 500
    difference = warp(photo, matrix, 112).astype(int) - expected
    assert np.abs(difference[inside]).max() <= 3


def test_shrinking_warp_does_not_alias():
    stripes = np.zeros((900, 900, 3), np.uint8)
    stripes[:, ::2] = 254  # finer than the crop can show: only its mean may remain
    crop = warp(stripes, similarity(0.12, 0.1, 5, -9), 90).astype(int)
    assert np.abs(crop[20:70, 20:70] - 127).max() <= 6


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("x", [-1e4, 1e4])
def test_crop_beyond_the_photo_is_black(scale, x):
    assert not warp(scene(), similarity(scale, 0.0, x, 0), 112).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1)])
def test_shrinking_a_sliver(shape):
    assert warp(np.full((*shape, 3), 9, np.uint8), similarity(0.1, 0.0, 3, 3), 112).max() <= 9


def test_photo_is_left_alone():
    photo = scene()
    warp(photo, similarity(0.2, 0.1, 0, 0), 112)[:] = 0
    assert (photo == scene()).all()


def test_warp_from_a_panorama_is_that_of_its_part():
    rng = np.random.default_rng(0)
    part = rng.integers(0, 255, (150, 160, 3), np.uint8)
    panorama = np.zeros((150, 33_000, 3), np.uint8)
    panorama[:, 32_000:32_160] = part
    matrix = np.array([[0.8, 0.1, 3.0], [-0.1, 0.8, 5.0]])
    there = matrix.copy()
    there[:, 2] -= matrix[:, 0] * 32_000
    assert (warp(panorama, there, 112) == warp(part, matrix, 112)).all()
