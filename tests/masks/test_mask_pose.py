"""Pose from five points, and the sheet's map to pixels and back, on faces whose pose is known."""

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError, ShapeError
from mfrkit.masks.head import bounding_boxes, pixels_to_sheet, pose_columns, sheet_to_pixels
from mfrkit.masks.pose import Pose, fit_pose, project

# The mean face the fit assumes: eyes, nose tip, mouth corners.
FACE = np.array(
    [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.575, 0.46], [-0.44, 1.01, 0.1], [0.44, 1.01, 0.1]]
)


def pose(
    yaw=0.0, pitch=0.0, length=1.0, scale=36.0, roll=0.0, tx=56.0, ty=52.0, girth=1.0, chin=0.0
) -> Pose:
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    numbers = (yaw, pitch, length, cos, sin, tx, ty, girth, chin)
    return Pose(*(np.array([float(n)]) for n in numbers), meshed=np.array([False]))


@pytest.mark.parametrize("yaw", [-0.7, -0.3, 0.0, 0.5])
@pytest.mark.parametrize("roll", [-0.5, 0.0, 0.2])
def test_a_known_turn_is_recovered(yaw, roll):
    fitted = fit_pose(project(pose(yaw=yaw, roll=roll), FACE))
    assert fitted.yaw[0] == pytest.approx(yaw, abs=0.05)
    assert np.arctan2(fitted.sin[0], fitted.cos[0]) == pytest.approx(roll, abs=0.03)
    assert fitted.scale[0] == pytest.approx(36, rel=0.04)


@pytest.mark.parametrize("pitch", [-0.25, 0.25])
def test_pitch_has_the_right_sign_and_is_held_back(pitch):
    fitted = fit_pose(project(pose(pitch=pitch), FACE))
    assert 0.5 * abs(pitch) < fitted.pitch[0] * np.sign(pitch) <= abs(pitch) + 0.01


def test_fit_moves_with_the_picture():
    points = project(pose(yaw=0.4, pitch=0.1, length=1.05), FACE)
    plain, moved = fit_pose(points), fit_pose(points * 3 + np.array([100.0, -20.0]))
    assert moved.scale[0] == pytest.approx(3 * plain.scale[0])
    assert moved.yaw[0] == pytest.approx(plain.yaw[0])
    assert moved.tx[0] == pytest.approx(3 * plain.tx[0] + 100)


def test_mirrored_points_mirror_the_pose():
    points = project(pose(yaw=0.4, pitch=0.1, roll=0.1), FACE)
    mirrored = points * np.array([-1.0, 1.0])
    mirrored = mirrored[:, [1, 0, 2, 4, 3]]
    one, other = fit_pose(points), fit_pose(mirrored)
    assert other.yaw[0] == pytest.approx(-one.yaw[0], abs=1e-6)
    assert other.pitch[0] == pytest.approx(one.pitch[0], abs=1e-6)


def test_points_in_any_state_give_finite_poses():
    generator = np.random.default_rng(0)
    fitted = fit_pose(generator.normal(0, 30, (500, 5, 2)))
    for name in ("yaw", "pitch", "length", "cos", "sin", "tx", "ty"):
        assert np.isfinite(getattr(fitted, name)).all()
    assert (fitted.scale > 0).all()


def test_bad_points_are_refused():
    with pytest.raises(ShapeError, match=r"\(B, 5, 2\)"):
        fit_pose(np.zeros((5, 2)))
    with pytest.raises(InputError, match="spread"):
        fit_pose(np.ones((1, 5, 2)))


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.4, 0.0), (-0.6, 0.0), (0.3, 0.2)])
def test_pixels_find_the_sheet_point_they_show(yaw, pitch):
    placed = pose(yaw=yaw, pitch=pitch, roll=0.15, scale=200.0)
    y, angle = (a.ravel() for a in np.meshgrid([0.2, 0.6, 1.0, 1.5], [-0.5, 0.0, 0.3]))
    pixels = sheet_to_pixels(placed, y, angle)[0]
    place = {k: torch.tensor(v)[:, None, None] for k, v in pose_columns(placed).items()}
    rows, columns = torch.tensor(pixels[:, 1]), torch.tensor(pixels[:, 0])
    sheet = pixels_to_sheet(place, rows, columns)
    found_y, found_sine = (torch.diagonal(t[0]).numpy() for t in (sheet.y, sheet.sine))
    np.testing.assert_allclose(found_y, y, atol=1e-9 if pitch == 0 else 0.02)
    np.testing.assert_allclose(found_sine, np.sin(angle), atol=1e-9 if pitch == 0 else 0.06)


def test_box_holds_every_face_and_stays_in_the_picture():
    (top, left), (bottom, right) = bounding_boxes(pose(), 0.0, (112, 112))[0]
    assert 30 < top < 52
    assert bottom == 112
    assert 0 < left < right <= 112
    first, behind = bounding_boxes(pose(tx=900.0, ty=900.0), 0.0, (112, 112))[0]
    assert first.tolist() == behind.tolist()
