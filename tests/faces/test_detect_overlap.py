"""Suppression against the textbook loop."""

import numpy as np
import pytest

from mfrkit.faces.overlap import suppress


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
