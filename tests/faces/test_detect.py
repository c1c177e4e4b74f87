"""Which boxes are one face, and which face goes on: by the textbook loop, and by hand."""

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face, select, suppress

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


def by_loop(boxes, scores, groups, threshold, edge):
    kept = []
    for group in np.unique(groups):
        for i in sorted(np.flatnonzero(groups == group), key=lambda i: (-scores[i], i)):
            rivals = [j for j in kept if groups[j] == group]
            if all(overlap(boxes[i], boxes[j], edge) <= threshold for j in rivals):
                kept.append(i)
    return kept


def overlap(a, b, edge):
    width = min(a[2], b[2]) - max(a[0], b[0]) + edge
    height = min(a[3], b[3]) - max(a[1], b[1]) + edge
    shared = max(0, width) * max(0, height)
    areas = [(x[2] - x[0] + edge) * (x[3] - x[1] + edge) for x in (a, b)]
    return shared / (min(areas) if edge else sum(areas) - shared)


@pytest.mark.parametrize(("relative_to", "edge"), [("union", 0), ("smaller", 1)])
@pytest.mark.parametrize("count", [1, 2, 40, 700])  # 700 takes several blocks
def test_same_as_the_loop(count, relative_to, edge):
    rng = np.random.default_rng(count)
    corner, side = rng.integers(0, 60, (count, 2)), rng.integers(4, 30, (count, 2))
    boxes = np.concatenate([corner, corner + side], 1).astype(np.float32)
    scores = rng.integers(0, 50, count).astype(np.float32)  # with ties
    groups = rng.integers(0, 2, count)
    kept = suppress(boxes, scores, groups, 0.4, relative_to=relative_to)
    assert kept.tolist() == by_loop(boxes, scores, groups, 0.4, edge)


def test_exactly_at_the_threshold_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10]], dtype=np.float32)  # shares 0.5
    assert len(suppress(boxes, np.ones(2), np.zeros(2, int), 0.5)) == 2
    assert len(suppress(boxes, np.ones(2), np.zeros(2, int), 0.49)) == 1


def test_groups_never_meet():
    boxes = np.array([[0, 0, 10, 10]] * 3, dtype=np.float32)
    assert suppress(boxes, np.array([0.1, 0.2, 0.3]), np.array([7, 3, 7]), 0.5).tolist() == [1, 2]


def test_nothing_and_boxes_without_area():
    nothing = np.empty((0, 4), np.float32)
    assert len(suppress(nothing, nothing[:, 0], np.empty(0, int), 0.5)) == 0
    points = np.array([[3, 3, 3, 3], [3, 3, 3, 3]], dtype=np.float32)
    assert len(suppress(points, np.ones(2), np.zeros(2, int), 0.5)) == 2
