"""Regions, the fit to the mean mesh, head pose and the checks on a fit, on meshes made up here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfrkit.errors import InputError
from mfrkit.faces.detect import IBUG, Mesh
from mfrkit.faces.geometry import transform_points
from mfrkit.faces.mesh import (
    SIDE,
    MeanMesh,
    box_region,
    fits_box,
    from_square,
    mesh_region,
)
from mfrkit.models.registry import load_network


@pytest.fixture(scope="module")
def mean():
    return MeanMesh(load_network("facemesh")[0].mean.numpy())


def turned(vertices, yaw=0.0, pitch=0.0, roll=0.0, scale=1.0, shift=(0.0, 0.0)):
    """Turn a mesh: nose to the picture's right, then up, then clockwise; degrees."""
    a, b, c = np.radians([yaw, pitch, roll])
    middle = vertices.mean(0)
    x, y, z = ((vertices - middle) * [1, 1, -1]).T
    x, z = x * np.cos(a) + z * np.sin(a), z * np.cos(a) - x * np.sin(a)
    y, z = y * np.cos(b) - z * np.sin(b), z * np.cos(b) + y * np.sin(b)
    x, y = x * np.cos(c) - y * np.sin(c), x * np.sin(c) + y * np.cos(c)
    moved = scale * np.stack([x, y, -z], 1) + middle
    return moved + np.array([*shift, 0.0])


@given(
    yaw=st.floats(-60, 60),
    pitch=st.floats(-40, 40),
    roll=st.floats(-90, 90),
    scale=st.floats(0.2, 9),
)
def test_pose_is_the_turn_of_the_head(mean, yaw, pitch, roll, scale):
    mesh = Mesh(turned(mean.vertices, yaw, pitch, roll, scale, (300.0, -40.0)), 1.0)
    assert mean.pose(mesh) == pytest.approx((yaw, pitch, roll), abs=1e-6)


@given(roll=st.floats(-180, 180), scale=st.floats(0.2, 9), x=st.floats(-99, 999))
def test_fit_takes_the_upper_face_back_to_the_mean(mean, roll, scale, x):
    mesh = Mesh(turned(mean.vertices, roll=roll, scale=scale, shift=(x, 50.0)), 1.0)
    back = transform_points(mesh.vertices[:, :2], mean.matrix(mesh, 112, 0.0))
    assert np.abs(back - mean.vertices[:, :2]).max() < 1e-6


def test_what_a_mask_hides_has_no_say(mean):
    vertices = mean.vertices.copy()
    vertices[vertices[:, 1] >= 72] += [40, -25, 5]
    matrix = mean.matrix(Mesh(vertices, 1.0), 112, 0.0)
    assert np.abs(matrix - np.eye(2, 3)).max() < 1e-9


def test_fit_to_a_larger_and_wider_crop(mean):
    face = Mesh(mean.vertices, 1.0)
    matrix = mean.matrix(face, 224, 0.5)
    assert transform_points(np.array([[56.0, 56.0]]), matrix)[0] == pytest.approx([112, 112])
    assert matrix[0, 0] == pytest.approx(1.0)


def test_mesh_without_extent_is_refused(mean):
    with pytest.raises(InputError):
        mean.matrix(Mesh(np.ones((468, 3)), 1.0), 112, 0.0)
    with pytest.raises(InputError):
        mesh_region(np.ones((468, 3)))
    with pytest.raises(InputError):
        mesh_region(np.full((468, 3), np.nan))


@pytest.mark.parametrize("roll", [0.0, 30.0, -75.0, 180.0])
def test_region_of_a_mesh_holds_it_upright(mean, roll):
    vertices = turned(mean.vertices, roll=roll, scale=2.0, shift=(100.0, 70.0))
    shown = transform_points(vertices[:, :2], mesh_region(vertices))
    low, high = shown.min(0), shown.max(0)
    assert (low + high) / 2 == pytest.approx([(SIDE - 1) / 2] * 2, abs=0.1)
    assert (high - low).max() == pytest.approx(SIDE / 1.5, rel=1e-3)
    axis = shown[263] - shown[33]
    assert axis[0] > 0
    assert abs(axis[1]) < 0.1


def test_region_of_a_box_turns_with_the_eyes():
    points = np.array([[40.0, 40], [40, 80], [20, 60], [0, 45], [0, 75]])
    region = box_region(np.array([0.0, 30, 60, 90]), points)
    across = transform_points(points[:2], region)
    assert across[0, 1] == pytest.approx(across[1, 1])
    assert across[1, 0] > across[0, 0]
    assert np.hypot(*region[:, 0]) == pytest.approx(SIDE / 90)


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [0, 0, np.nan, 9], [0, 0, np.inf, 9]])
def test_box_without_extent_is_refused(box):
    with pytest.raises(InputError):
        box_region(np.array(box, float), np.array([[1.0, 1], [3, 1], [2, 2], [1, 3], [3, 3]]))


def test_vertices_of_the_square_go_back_to_the_photo():
    region = np.array([[0.0, 2, 7], [-2, 0, 300]])
    mesh = np.random.default_rng(0).uniform(0, 192, (468, 3))
    back = from_square(mesh, region)
    assert transform_points(back[:, :2], region) + 0.5 == pytest.approx(mesh[:, :2])
    assert back[:, 2] == pytest.approx(mesh[:, 2] / 2)


def test_sixty_eight_landmarks_lie_as_ibug_has_them(mean):
    marks = Mesh(mean.vertices, 1.0).landmarks
    assert marks.shape == (68, 2)
    assert len(set(IBUG)) == 68
    jaw = marks[:17]
    assert (np.diff(jaw[1:16, 0]) > 0).all()  # from image-left to image-right
    assert jaw[:, 1].argmax() == 8
    left_eye, right_eye, mouth = marks[36:42].mean(0), marks[42:48].mean(0), marks[48:60].mean(0)
    assert left_eye[0] < marks[30, 0] < right_eye[0]
    assert left_eye[1] < marks[30, 1] < mouth[1] < jaw[8, 1]


BOX = np.array([20.0, 20, 100, 120])
POINTS = np.array([[40.0, 60], [80, 60], [60, 80], [45, 100], [75, 100]])


@pytest.mark.parametrize(
    ("matrix", "fits"),
    [
        ([[1.0, 0, 0], [0, 1.0, 0]], True),
        ([[0.3, 0, 0], [0, 0.3, 0]], False),
        ([[3.0, 0, 0], [0, 3.0, 0]], False),
        ([[0.0, 1, 0], [-1, 0, 0]], False),
        ([[-1.0, 0, 0], [0, -1, 0]], False),
        ([[0.9, 0.3, 0], [-0.3, 0.9, 0]], True),
        ([[np.nan, 0, 0], [0, 1, 0]], False),
        ([[0.0, 0, 0], [0, 0, 0]], False),
    ],
)
def test_wild_fits_are_told_from_sane_ones(matrix, fits):
    assert fits_box(np.array(matrix), BOX, POINTS, 112) is fits
