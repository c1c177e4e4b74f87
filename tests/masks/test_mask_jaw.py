"""Girth and chin from 68 landmarks, on heads whose jaw is known."""

import dataclasses

import numpy as np
import pytest
import torch

from mfrkit.errors import ShapeError
from mfrkit.masks.head import follow_jaw
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.pose import fit_pose
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.spec import sample_spec

POINTS = np.array([[[38, 52], [74, 52], [56, 72.7], [40.2, 88.4], [71.8, 88.4]]])
# Mean jaw line of 66 frontal LFW photos annotated by dlib, image-left half from ear to chin, in eye
# distances from between the eyes.
HALF = [(1.1, 0.008), (1.081, 0.304), (1.05, 0.594), (1.004, 0.882), (0.909, 1.153), (0.749, 1.394),
        (0.536, 1.596), (0.286, 1.755), (0.0, 1.804)]  # fmt: skip


def landmarks(wider: float = 1.0, lower: float = 0.0) -> np.ndarray:
    """68 points with a jaw line only, over a face 36 pixels between the eyes."""
    points = np.zeros((1, 68, 2))
    for k, (x, y) in enumerate(HALF):
        down = y + lower * (y / HALF[-1][1]) ** 2
        points[0, k] = 56 - 36 * wider * x, 52 + 36 * down
        points[0, 16 - k] = 56 + 36 * wider * x, 52 + 36 * down
    return points


def test_the_mean_jaw_leaves_the_mean_head():
    pose = follow_jaw(fit_pose(POINTS), landmarks())
    assert pose.girth[0] == pytest.approx(1.0, abs=0.04)
    assert pose.chin[0] == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize("wider", [0.88, 1.12])
def test_a_broad_or_narrow_jaw_is_measured(wider):
    middle = follow_jaw(fit_pose(POINTS), landmarks()).girth[0]
    girth = follow_jaw(fit_pose(POINTS), landmarks(wider=wider)).girth[0]
    assert girth / middle == pytest.approx(wider, abs=0.01)


def test_a_long_chin_is_measured():
    middle = follow_jaw(fit_pose(POINTS), landmarks()).chin[0]
    longer = follow_jaw(fit_pose(POINTS), landmarks(lower=0.2)).chin[0]
    assert longer - middle == pytest.approx(0.2, abs=0.03)


def test_stray_landmarks_are_held_back_and_missing_ones_change_nothing():
    wild = follow_jaw(fit_pose(POINTS), landmarks(wider=3.0, lower=4.0))
    assert (wild.girth[0], wild.chin[0]) == (1.22, 0.35)
    half = landmarks(wider=1.1)
    half[0, 8] = np.nan
    plain = follow_jaw(fit_pose(POINTS), half)
    assert (plain.girth[0], plain.chin[0]) == (1.0, 0.0)
    with pytest.raises(ShapeError, match="68"):
        follow_jaw(fit_pose(POINTS), np.zeros((1, 5, 2)))


def test_the_mask_follows_the_jaw():
    faces = torch.full((3, 3, 140, 112), 0.5)
    points = torch.tensor(POINTS, dtype=torch.float32).repeat(3, 1, 1)
    spec = sample_spec(0, "a", MaskOptions(types={"surgical": 1.0}, jitter=0))
    specs = [dataclasses.replace(spec, cords=False)] * 3
    marks = np.concatenate([landmarks(), landmarks(wider=1.15), landmarks(lower=0.25)])
    region = MaskRenderer()(faces, points, specs, torch.tensor(marks)).region[:, 0] > 0.5
    width, bottom = region[:, 85].sum(dim=1), region[:, :, 56].sum(dim=1)
    assert width[1] > width[0] * 1.1
    assert bottom[2] >= bottom[0] + 6
    assert abs(int(width[2]) - int(width[0])) <= 3
