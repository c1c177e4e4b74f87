"""Head pose: where the mean face sits, and how far it is turned.

Five points tell all of it, the turn as well as they can. Where a mesh has been seen its turn is
taken as it is, and its own points place the face.

The mean face is measured in units of the distance between the eyes, origin midway between them,
x to the picture's right, y down, z towards the camera. Weak perspective (rotate, drop z, scale,
shift) is enough at the distances faces are photographed from.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ItemError, ShapeError

Array = NDArray[np.float64]

# Eyes, nose tip, mouth corners: x and y averaged over 3,800 frontal faces found by MTCNN in CelebA
# and UTKFace, z of an average head.
_MEAN_POINTS = np.array(
    [[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.575, 0.46], [-0.44, 1.01, 0.1], [0.44, 1.01, 0.1]]
)
# Eye corners, tip and base of the nose, mouth corners and upper lip of the mean mesh, by their iBUG
# numbers. Unit and heights are such that the faces which fit the mean face above fit these alike:
# 160 frontal ones of LFW folds 1 to 5 with MTCNN's points.
_MESH_MARKS = [36, 39, 42, 45, 30, 33, 48, 54, 51]
_MESH_POINTS = np.array(
    [
        [-0.707, -0.008, -0.04], [-0.266, 0.016, 0.04], [0.266, 0.016, 0.04],
        [0.707, -0.008, -0.04], [0.0, 0.485, 0.64], [0.0, 0.672, 0.367],
        [-0.422, 0.981, 0.023], [0.422, 0.981, 0.023], [0.0, 0.884, 0.351],
    ]
)  # fmt: skip
# What is believed of yaw, pitch (radians) and face length before the points are seen, as standard
# deviations, against the scatter of real features round the mean face.
_PRIOR = np.array([0.6, 0.14, 0.07])
_SCATTER = 0.035
_TOLD = np.array([1e-3, 1e-3, 0.07])  # the same where the turn is known
_LIMIT_YAW, _LIMIT_PITCH = 1.0, 0.45
_STEPS = 6


@dataclass(frozen=True)
class Pose:
    """Weak-perspective placement of B mean faces, every field (B,) float64.

    A face point (x, y, z) is stretched to (x, length * y, z), turned by `yaw` (positive: the nose
    moves to the picture's right), tipped by `pitch` (positive: the nose moves up), then taken to
    pixels by [[cos, -sin], [sin, cos]] and the shift (`tx`, `ty`), where cos and sin carry the
    scale, the distance between frontal eyes in pixels. `girth` is how many times the mean head's
    width this head has and `chin` how far its chin lies below the mean one, face units: 1 and 0
    unless a jaw line has been seen (`head`). `meshed`, (B,) bool, says whose turn a mesh told.
    """

    yaw: Array
    pitch: Array
    length: Array
    cos: Array
    sin: Array
    tx: Array
    ty: Array
    girth: Array
    chin: Array
    meshed: NDArray[np.bool_]

    def __getitem__(self, part: slice) -> "Pose":
        """Return the placements of some of the faces."""
        return Pose(*(getattr(self, field.name)[part] for field in fields(self)))

    @property
    def scale(self) -> Array:
        """(B,) pixels per face unit."""
        return np.sqrt(self.cos**2 + self.sin**2)


def turn(points: Array, yaw: Array, pitch: Array) -> tuple[Array, Array, Array]:
    """Turn and tip face points (B, N, 3) by yaw and pitch, (B,) radians; length is already applied.

    Returns:
        x and y after both, and depth after the turn alone, each (B, N), face units.
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    cos_yaw, sin_yaw = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    depth = z * cos_yaw - x * sin_yaw
    tipped = y * np.cos(pitch)[:, None] - depth * np.sin(pitch)[:, None]
    return x * cos_yaw + z * sin_yaw, tipped, depth


def project(pose: Pose, points: Array) -> Array:
    """Take face points, (B, N, 3) or (N, 3) face units, to (B, N, 2) pixels (x, y)."""
    stretched = np.broadcast_to(points, (len(pose.yaw), *points.shape[-2:])).copy()
    stretched[..., 1] *= pose.length[:, None]
    x, y, _ = turn(stretched, pose.yaw, pose.pitch)
    cos, sin = pose.cos[:, None], pose.sin[:, None]
    return np.stack(
        [cos * x - sin * y + pose.tx[:, None], sin * x + cos * y + pose.ty[:, None]], axis=-1
    )


def fit_pose(points: NDArray[np.floating]) -> Pose:
    """Fit the mean face to five points by damped least squares with a prior on the turn.

    Five points hold ten numbers and the placement has seven, but a long nose looks like a raised
    chin; the prior keeps such a face frontal unless the points insist.

    Args:
        points: (B, 5, 2) pixels (x, y), centres at integers: image-left and image-right eye, nose
            tip, image-left and image-right mouth corner.

    Returns:
        B placements; yaw within 57 and pitch within 26 degrees either way.

    Raises:
        ShapeError: `points` is not (B, 5, 2).
        ItemError: a coordinate is not finite, or the eyes and mouth of a face coincide.
    """
    pixels = np.asarray(points, dtype=np.float64)
    if pixels.ndim != 3 or pixels.shape[1:] != (5, 2):
        raise ShapeError(f"face points must be (B, 5, 2), got {tuple(pixels.shape)}.")
    mouth = (pixels[:, 3] + pixels[:, 4]) / 2
    start = _Start.of(pixels[:, 0], pixels[:, 1], mouth)
    if not np.isfinite(pixels).all() or not (start.unit > 1e-3).all():
        raise ItemError("face points must be finite and spread over more than one pixel.")
    return _fit(pixels, _MEAN_POINTS, start, np.zeros((len(pixels), 2)), told=False)


def fit_mesh(landmarks: NDArray[np.floating], turns: NDArray[np.floating]) -> Pose:
    """Place the mean face on points of a mesh whose turn is known.

    Args:
        landmarks: (B, 68, 2) pixels in iBUG order, picked from the mesh, finite.
        turns: (B, 2) yaw and pitch of the head, degrees, see `Pose`.

    Returns:
        B placements; yaw within 57 and pitch within 26 degrees either way.

    Raises:
        ItemError: the eyes and mouth of a face coincide.
    """
    pixels = np.asarray(landmarks, dtype=np.float64)[:, _MESH_MARKS]
    left, right, mouth = (pixels[:, k : k + 2].mean(axis=1) for k in (0, 2, 6))
    start = _Start.of(left, right, mouth)
    if not (start.unit > 1e-3).all():
        raise ItemError("the landmarks of a face must be spread over more than one pixel.")
    limits = np.array([_LIMIT_YAW, _LIMIT_PITCH])
    known = np.clip(np.radians(np.asarray(turns, dtype=np.float64)), -limits, limits)
    return _fit(pixels, _MESH_POINTS, start, known, told=True)


class _Start(NamedTuple):
    """Where a fit begins: `eyes` (B, 2) midpoint, `unit` (B,) pixels, `upright` (B, 2) cos, sin."""

    eyes: Array
    unit: Array
    upright: Array

    @classmethod
    def of(cls, left: Array, right: Array, mouth: Array) -> "_Start":
        """Begin from both eyes and the middle of the mouth, (B, 2) pixels each."""
        eyes = (left + right) / 2
        # A turn shortens one of these two lengths and leaves the other: the longer tells the size.
        across = np.sqrt(((right - left) ** 2).sum(-1))
        down = np.sqrt(((mouth - eyes) ** 2).sum(-1)) / _MEAN_POINTS[3, 1]
        unit = np.maximum(across, down)
        safe = np.maximum(unit, 1e-9)[:, None]
        axis, drop = (right - left) / safe, (mouth - eyes) / safe
        # The in-plane turn that both the eye line and the mid-line agree on.
        upright = np.stack([axis[:, 0] + drop[:, 1], axis[:, 1] - drop[:, 0]], axis=-1)
        upright /= np.maximum(np.sqrt((upright**2).sum(-1, keepdims=True)), 1e-6)
        return cls(eyes, unit, upright)


def _fit(pixels: Array, model: Array, start: _Start, turns: Array, *, told: bool) -> Pose:
    """Place `model` (N, 3) on pixels (B, N, 2), from a turn (B, 2) that is told or free."""
    target = (pixels - start.eyes[:, None]) / start.unit[:, None, None]
    believed = np.concatenate([turns, np.ones((len(pixels), 1))], axis=1)
    spread = _TOLD if told else _PRIOR
    state = np.concatenate([believed, start.upright, np.zeros((len(pixels), 2))], axis=1)
    for _ in range(_STEPS):
        state += _gauss_newton_step(state, target, model, believed, spread)
        state[:, 0] = np.clip(state[:, 0], -_LIMIT_YAW, _LIMIT_YAW)
        state[:, 1] = np.clip(state[:, 1], -_LIMIT_PITCH, _LIMIT_PITCH)
    yaw, pitch, length, cos, sin, tx, ty = state.T
    return Pose(
        yaw=yaw,
        pitch=pitch,
        length=length,
        cos=cos * start.unit,
        sin=sin * start.unit,
        tx=tx * start.unit + start.eyes[:, 0],
        ty=ty * start.unit + start.eyes[:, 1],
        girth=np.ones_like(yaw),
        chin=np.zeros_like(yaw),
        meshed=np.full(len(yaw), told),
    )


def _gauss_newton_step(
    state: Array, target: Array, model: Array, believed: Array, spread: Array
) -> Array:
    """Return the (B, 7) step that lowers point misfit plus departure from what is believed."""
    yaw, pitch, length = state[:, 0], state[:, 1], state[:, 2]
    cos, sin, tx, ty = (state[:, i : i + 1] for i in (3, 4, 5, 6))
    points = np.repeat(model[None], len(state), axis=0)
    points[..., 1] *= length[:, None]
    x, y, depth = turn(points, yaw, pitch)
    cos_pitch, sin_pitch = np.cos(pitch)[:, None], np.sin(pitch)[:, None]

    # One column per unknown: how x and y in the camera's frame answer to yaw, pitch and length.
    zero, one = np.zeros_like(x), np.ones_like(x)
    dx = [depth, zero, zero]
    dy = [x * sin_pitch, -points[..., 1] * sin_pitch - depth * cos_pitch]
    dy.append(np.broadcast_to(model[:, 1] * cos_pitch, x.shape))
    columns = [(cos * a - sin * b, sin * a + cos * b) for a, b in zip(dx, dy, strict=True)]
    columns += [(x, y), (-y, x), (one, zero), (zero, one)]

    rows = np.stack([np.concatenate(column, axis=1) for column in columns], axis=-1) / _SCATTER
    placed = np.concatenate([cos * x - sin * y + tx, sin * x + cos * y + ty], axis=1)
    misfit = (placed - np.concatenate([target[..., 0], target[..., 1]], axis=1)) / _SCATTER
    gradient = (rows * misfit[:, :, None]).sum(axis=1)
    gradient[:, :3] += (state[:, :3] - believed) / spread**2
    normal = rows.transpose(0, 2, 1) @ rows + np.diag([*(1 / spread**2), 0.0, 0.0, 0.0, 0.0])
    return -np.linalg.solve(normal, gradient[:, :, None])[:, :, 0]
