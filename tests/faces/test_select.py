"""Which face goes on, worked out by hand."""

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face
from mfrkit.faces.select import select

PHOTO = (401, 601)  # centre pixel (300, 200)


def face(x, y, width, height=None, score=0.9):
    """A face by its box's centre and sides."""
    half = np.array([width, height or width]) / 2
    centre = np.array([x, y])
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return Face(box, score, np.zeros((5, 2), np.float32))


CORNER = face(100, 100, 100)  # area 10,000; 223.6 px off centre
MIDDLE = face(300, 200, 40)  # area 1,600
NEAR = face(310, 200, 44)  # area 1,936; 10 px off centre costs 200


def test_largest():
    assert select([MIDDLE, CORNER, NEAR], "largest", PHOTO) == [CORNER]


def test_a_tiny_face_in_the_middle_is_not_the_subject():
    tiny, small = face(300, 200, 24), face(300, 200, 26)
    assert select([tiny, CORNER], "center", PHOTO)[0] is CORNER
    assert select([small, CORNER], "center", PHOTO)[0] is small


def test_all_comes_largest_first():
    assert select([MIDDLE, CORNER, NEAR], "all", PHOTO) == [CORNER, NEAR, MIDDLE]


def test_center_weighs_size_against_distance():
    assert select([CORNER, MIDDLE, NEAR], "center", PHOTO) == [NEAR]  # 1,736 against 1,600
    further = face(313, 200, 44)  # 13 px off costs 338: 1,598
    assert select([CORNER, MIDDLE, further], "center", PHOTO) == [MIDDLE]


def test_center_uses_height_and_width_of_the_photo():
    wide, tall = face(300, 200, 30), face(200, 300, 30)
    assert select([wide, tall], "center", (401, 601)) == [wide]
    assert select([wide, tall], "center", (601, 401)) == [tall]


@pytest.mark.parametrize("policy", ["largest", "center", "all"])
def test_limits_come_first(policy):
    poor, small = face(300, 200, 200, score=0.5), face(300, 200, 29, 20)
    assert select([poor, small, MIDDLE], policy, PHOTO, min_score=0.6, min_size=30) == [MIDDLE]
    assert select([poor], policy, PHOTO, min_score=0.5, min_size=200) == [poor]  # inclusive
    assert select([poor], policy, PHOTO, min_score=0.6) == []
    assert select([], policy, PHOTO) == []


def test_equals_keep_their_order():
    first, second = face(250, 200, 50), face(350, 200, 50)
    for policy in ("largest", "center"):
        assert select([first, second], policy, PHOTO) == [first]


def test_unknown_policy():
    with pytest.raises(InputError, match="largest, center or all"):
        select([], "biggest", PHOTO)
