"""Where heads are and what shape they have: from five points, from landmarks, or from a mesh.

The five points say where a face is and how it is turned, but not how broad or long its jaw is.
The jaw line of the 68 landmarks does: its span at the height of the mouth is compared with the
mean head's under the same turn, its lowest point with the mean chin, so that a mask follows this
jaw, not the mean. Two sorts of jaw line are told apart: annotated ones follow the contour that
the picture shows, vertices of a mesh stay where they are on the head.
"""

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
from mfrkit.masks.pose import Array, Pose, fit_mesh, fit_pose, project
from mfrkit.masks.surface import half_width, silhouette

# iBUG points on the jaw line, image-left and image-right, from the height of the nose to the mouth.
_LEFT, _RIGHT, _CHIN = [2, 3, 4], [14, 13, 12], 8
# The chin of annotated landmarks and that of the mean mesh.
_MEAN_CHIN, _MESH_CHIN = np.array([[0.0, 1.75, 0.15]]), np.array([[0.0, 1.732, 0.0]])
# Annotated jaw lines run inside the silhouette: on 159 LFW photos with dlib's landmarks their span
# was this share of the mean head's in the median, of frontal and turned heads alike.
_JAW_LINE = 0.945
# The same of the vertices, on 3,350 photos of LFW folds 1 to 5 (0.950 to 0.968 by yaw up to 50
# degrees, 0.933 to 0.963 by pitch); how deep their three pairs lie on the mean mesh, and how much
# of the span a turn takes is not lost, because the far ones do not go quite out of sight.
_MESH_JAW, _MESH_DEPTHS, _MESH_KEPT = 0.952, np.array([-0.904, -0.776, -0.621]), 0.15
_GIRTHS, _CHINS = (0.82, 1.22), (-0.25, 0.35)  # beyond these a landmark has gone astray


def follow_jaw(pose: Pose, landmarks: NDArray[np.floating]) -> Pose:
    """Return the placements with each head's width and chin taken from its jaw line.

    Convention:
        (x, y) in pixels, x right, y down, pixel centres at integers; iBUG order.

    Args:
        pose: B placements.
        landmarks: (B, 68, 2); a face that has none holds NaN and keeps the mean head.

    Returns:
        B placements; girth within 0.82 and 1.22, chin within -0.25 and 0.35 face units.

    Raises:
        ShapeError: `landmarks` is not (B, 68, 2).

    Example:
        >>> from mfrkit.masks.pose import fit_pose
        >>> points = np.array([[[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]]])
        >>> follow_jaw(fit_pose(points), np.full((1, 68, 2), np.nan)).girth.tolist()
        [1.0]
    """
    pixels = np.asarray(landmarks, dtype=np.float64)
    if pixels.shape != (len(pose.yaw), 68, 2):
        raise ShapeError(f"landmarks must be ({len(pose.yaw)}, 68, 2), got {pixels.shape}.")
    known = np.asarray(np.isfinite(pixels[:, [*_LEFT, *_RIGHT, _CHIN]]).all(axis=(1, 2)))
    pixels = np.where(known[:, None, None], pixels, 0.0)
    stretched = (pose.length * np.cos(pose.pitch))[:, None]
    across, down = _upright(pose, pixels)
    means = np.where(pose.meshed[:, None, None], _MESH_CHIN, _MEAN_CHIN)
    _, expected = _upright(pose, project(pose, means))
    chin = np.clip((down[:, [_CHIN]] - expected) / stretched, *_CHINS)

    height = ((down[:, _LEFT] + down[:, _RIGHT]) / 2 + _dip(pose)) / stretched
    span = across[:, _RIGHT] - across[:, _LEFT]
    girth = np.median(span / (half_width(height, chin) * _shown(pose)[:, None]), axis=1)
    chin = chin[:, 0]
    return replace(
        pose,
        girth=np.where(known, np.clip(girth, *_GIRTHS), pose.girth),
        chin=np.where(known, chin, pose.chin),
    )


def _shown(pose: Pose) -> Array:
    """Return (B,) the span of a jaw line over the mean head's half width."""
    across, away = np.cos(pose.yaw), np.sin(pose.yaw)
    # The far side of a turned jaw is the silhouette, the near side the jaw line itself.
    line = _JAW_LINE * (silhouette(pose) + np.abs(across))
    vertices = 2 * _MESH_JAW * np.sqrt(across**2 + _MESH_KEPT * away**2)
    return np.where(pose.meshed, vertices, line)


def _dip(pose: Pose) -> Array:
    """Return (B, 3) how far down pitch would bring pairs of the jaw if they were not so deep."""
    dip = (np.cos(pose.yaw) * np.sin(pose.pitch))[:, None] * _MESH_DEPTHS
    return np.where(pose.meshed[:, None], dip, 0.0)


def _upright(pose: Pose, pixels: Array) -> tuple[Array, Array]:
    """Undo shift, roll and scale: (B, N) each, face units as the camera sees them."""
    right, down = pixels[..., 0] - pose.tx[:, None], pixels[..., 1] - pose.ty[:, None]
    cos, sin = (pose.cos / pose.scale**2)[:, None], (pose.sin / pose.scale**2)[:, None]
    return cos * right + sin * down, cos * down - sin * right


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
