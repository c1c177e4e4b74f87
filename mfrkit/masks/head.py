"""Where heads are and what shape they have: from five points, from landmarks, or from a mesh."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
from mfrkit.masks.jaw import follow_jaw
from mfrkit.masks.pose import Pose, fit_mesh, fit_pose

# Which landmark each of the 68 is in a mirrored picture; its yaw changes sign.
MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


def place_heads(
    points: NDArray[np.floating],
    landmarks: NDArray[np.floating] | None = None,
    turns: NDArray[np.floating] | None = None,
) -> Pose:
    """Place heads by the best that is known of each.

    Convention:
        (x, y) in pixels, x right, y down, pixel centres at integers.

    Args:
        points: (B, 5, 2) eyes, nose tip, mouth corners.
        landmarks: (B, 68, 2) in the iBUG order; NaN for a face that has none.
        turns: (B, 2) yaw and pitch in degrees, see `Pose`, of faces whose landmarks were picked
            from a mesh; NaN for others.

    Returns:
        B placements. A face's does not depend on the others.

    Raises:
        ShapeError: the arrays do not fit together.
        InputError: a point is not finite, or the points of a face coincide.

    Example:
        >>> points = np.array([[[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]]])
        >>> place_heads(points).meshed.tolist()
        [False]
    """
    if landmarks is None:
        return fit_pose(points)
    marks = np.asarray(landmarks, dtype=np.float64)
    told = np.full((len(marks), 2), np.nan) if turns is None else np.asarray(turns, np.float64)
    if marks.shape != (len(points), 68, 2) or told.shape != (len(points), 2):
        raise ShapeError(
            f"expected landmarks ({len(points)}, 68, 2) and turns ({len(points)}, 2), got "
            f"{marks.shape} and {told.shape}."
        )
    meshed = np.isfinite(told).all(axis=1) & np.isfinite(marks).all(axis=(1, 2))
    if meshed.all():
        return follow_jaw(fit_mesh(marks, told), marks)
    pose = fit_pose(points)
    if meshed.any():
        pose = _replaced(pose, meshed, fit_mesh(marks[meshed], told[meshed]))
    return follow_jaw(pose, marks)


def _replaced(pose: Pose, which: NDArray[np.bool_], others: Pose) -> Pose:
    """Return placements with those of some faces taken from `others`."""
    columns = []
    for field in fields(Pose):
        column = getattr(pose, field.name).copy()
        column[which] = getattr(others, field.name)
        columns.append(column)
    return Pose(*columns)
