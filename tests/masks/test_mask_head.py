"""Heads placed by meshes whose turn is known, alone and among others."""

import numpy as np
import pytest

from mfrkit.errors import InputError, ShapeError
from mfrkit.masks.head import place_heads
from mfrkit.masks.pose import Pose, project

# The mean mesh's landmarks that count, in face units: jaw from the height of the nose to the chin,
# nose tip and base, outer and inner corners of the eyes, mouth corners, upper lip.
RIGHT_HALF = {
    14: (1.116, 0.501, -0.904),
    13: (1.006, 1.004, -0.776),
    12: (0.903, 1.209, -0.621),
    45: (0.707, -0.008, -0.04),
    42: (0.266, 0.016, 0.04),
    54: (0.422, 0.981, 0.023),
}
MIDDLE = {8: (0, 1.732, 0), 30: (0, 0.485, 0.64), 33: (0, 0.672, 0.367), 51: (0, 0.884, 0.351)}
POINTS = np.array([[38, 52], [74, 52], [56, 72.7], [40.2, 88.4], [71.8, 88.4]])


def head(yaw=0.0, pitch=0.0, length=1.0, scale=36.0, roll=0.0) -> Pose:
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    numbers = (np.radians(yaw), np.radians(pitch), length, cos, sin, 56.0, 52.0, 1.0, 0.0)
    return Pose(*(np.array([float(n)]) for n in numbers), meshed=np.array([True]))


# Which landmark each of the 68 is in a mirrored picture.
MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


def landmarks(pose: Pose, wider: float = 1.0, lower: float = 0.0) -> np.ndarray:
    """68 points (1, 68, 2) of the mean mesh, with a jaw broader and a chin lower than its own."""
    mesh = np.zeros((68, 3))
    for place, point in RIGHT_HALF.items():
        mesh[place] = point
        mesh[MIRRORED[place]] = np.array(point) * [-1, 1, 1]
    for place, point in MIDDLE.items():
        mesh[place] = point
    mesh[:17, 0] *= wider
    mesh[8, 1] += lower
    return project(pose, mesh)


def place(marks: np.ndarray, yaw=0.0, pitch=0.0) -> Pose:
    return place_heads(POINTS[None], marks, np.array([[yaw, pitch]]))


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (-45, 10), (30, -20), (15, 25)])
@pytest.mark.parametrize("roll", [-0.5, 0.2])
def test_a_mesh_is_placed_by_itself_and_its_turn(yaw, pitch, roll):
    pose = head(yaw, pitch, 1.05, 40, roll)
    found = place(landmarks(pose), yaw, pitch)
    for name in ("yaw", "pitch", "length", "cos", "sin", "tx", "ty"):
        told = pytest.approx(getattr(pose, name)[0], rel=0.02, abs=0.03)  # lengths are held back
        assert getattr(found, name)[0] == told, name
    assert found.meshed.all()


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (-25, 0), (25, 15), (0, -15)])
def test_girth_and_chin_do_not_depend_on_the_turn(yaw, pitch):
    plain = place(landmarks(head(yaw, pitch)), yaw, pitch)
    assert plain.girth[0] == pytest.approx(1.0, abs=0.06)
    assert plain.chin[0] == pytest.approx(0.0, abs=0.02)
    broad = place(landmarks(head(yaw, pitch), wider=1.1, lower=0.15), yaw, pitch)
    assert broad.girth[0] / plain.girth[0] == pytest.approx(1.1, abs=0.02)
    assert broad.chin[0] == pytest.approx(0.15, abs=0.02)


def test_a_turn_no_sheet_can_follow_is_held_back():
    found = place(landmarks(head(70, 40)), 70, 40)
    assert np.degrees(found.yaw[0]) == pytest.approx(57.3, abs=0.1)
    assert np.degrees(found.pitch[0]) == pytest.approx(25.8, abs=0.1)


def test_a_mirrored_mesh_is_a_mirrored_head():
    assert [MIRRORED[place] for place in MIRRORED] == list(range(68))
    marks = landmarks(head(20, 5, roll=0.1))
    mirrored = marks[:, list(MIRRORED)] * [-1, 1]
    one, other = place(marks, 20, 5), place(mirrored, -20, 5)
    for name, sign in (("yaw", -1), ("pitch", 1), ("sin", -1), ("girth", 1), ("chin", 1)):
        assert getattr(other, name)[0] == pytest.approx(sign * getattr(one, name)[0], abs=1e-6)


def test_heads_of_all_sorts_share_a_batch():
    points = np.repeat(POINTS[None], 4, axis=0)
    marks = np.concatenate([landmarks(head(20)), landmarks(head()), landmarks(head(-10)),
                            np.full((1, 68, 2), np.nan)])  # fmt: skip
    turns = np.array([[20.0, 0], [np.nan, np.nan], [-10, 0], [5, 5]])  # the last has no mesh
    together = place_heads(points, marks, turns)
    assert together.meshed.tolist() == [True, False, True, False]
    for i in range(4):
        alone = place_heads(points[i : i + 1], marks[i : i + 1], turns[i : i + 1])
        for name in Pose.__dataclass_fields__:
            assert getattr(together, name)[i] == getattr(alone, name)[0], (i, name)
    five = place_heads(points[3:])
    assert together.yaw[3] == five.yaw[0]
    told = place_heads(points[1:2], marks[1:2])
    assert together.girth[1] == told.girth[0] != 1


def test_what_does_not_fit_together_is_refused():
    marks = landmarks(head())
    with pytest.raises(ShapeError, match="turns"):
        place_heads(POINTS[None], marks, np.zeros((1, 3)))
    with pytest.raises(ShapeError, match="landmarks"):
        place_heads(POINTS[None], marks[:, :5], np.zeros((1, 2)))
    with pytest.raises(InputError, match="spread"):
        place_heads(POINTS[None], np.ones((1, 68, 2)), np.zeros((1, 2)))
