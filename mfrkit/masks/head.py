"""The head a mask is drawn on: a curved sheet, where it is, and what shape this one has.

A turned face shows its far cheek foreshortened and loses it past the silhouette; a flat homography
shows neither. The sheet is an elliptic cylinder whose radius shrinks towards the chin and whose
front follows the profile from nose to chin, so that every pixel has a closed-form place on it.
Only arithmetic and square roots are used on pixels: these are rounded once, and alike in every
vector lane (multiply-adds too), so a pixel's value cannot depend on which thread or batch computed
it.

The five points say where a face is and how it is turned, but not how broad or long its jaw is.
The jaw line of the 68 landmarks does: its span at the height of the mouth is compared with the
mean head's under the same turn, its lowest point with the mean chin, so that a mask follows this
jaw, not the mean. Two sorts of jaw line are told apart: annotated ones follow the contour that
the picture shows, vertices of a mesh stay where they are on the head.
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import ShapeError
from mfrkit.masks.canvas import Fields
from mfrkit.masks.pose import Array, Pose, fit_mesh, fit_pose, project

# Face units (distance between the eyes). The widest point of the head and its half width there,
# the half height of the ellipse that narrows it to the chin, and the least share that is left.
_WIDEST, _HALF_WIDTH, _HALF_HEIGHT, _LEAST = 0.35, 1.13, 1.56, 0.1


class _Profile(NamedTuple):
    """How far a head reaches forward and back.

    The front line is deepest, `front`, at the height `at` and falls off with the square of the
    distance from there, times `fall`; `round` is the depth of the cylinder per half width, `flat`
    that of the parabola which stands for it in a first guess.
    """

    front: Array
    at: Array
    fall: Array
    round: Array
    flat: Array


# Of a head whose turn five points tell, too large a one for its own flat nose; and of a meshed one,
# between the mean mesh's ridge of the nose, lips and chin and its far cheek at 20 to 50 degrees.
_PROFILES = np.array([[0.44, 0.72, 0.26, 0.92, 0.45], [0.50, 0.50, 0.32, 1.00, 0.49]])


@dataclass(frozen=True)
class Sheet:
    """Where each pixel lies on the sheet; every field (B, H, W) float32.

    Convention:
        Face units; x to the picture's right and y down, as the frontal face would show them.

    Attributes:
        x: Sideways position seen from the front.
        y: Height, 0 at the eyes, about 1 at the mouth, 1.8 at the chin.
        sine: Sine of the angle round the cylinder: 0 at the mid-line, +-1 at the ears, beyond
            behind them.
        limb: Distance inside the silhouette; negative where the line of sight misses the head.
    """

    x: Tensor
    y: Tensor
    sine: Tensor
    limb: Tensor


def half_width(y: Array, chin: Array | float = 0.0) -> Array:
    """Return the mean head's half width at height `y`, for a chin this far below the mean one."""
    drop = (y - _WIDEST) / (_HALF_HEIGHT + chin)
    return _HALF_WIDTH * np.sqrt(np.maximum(1 - drop**2, _LEAST))


def sheet_to_pixels(pose: Pose, y: Array, angle: Array) -> Array:
    """Take sheet points to pixels, (B, N, 2) float64.

    Args:
        pose: B placements.
        y: (N,) float64, height in face units.
        angle: (N,) float64, radians round the cylinder, 0 at the mid-line.
    """
    width = pose.girth[:, None] * half_width(y, pose.chin[:, None])  # (B, N)
    front, at, fall, round_, _ = (column[:, None] for column in _profile(pose))
    depth = front - fall * (y - at) ** 2 - round_ * width * (1 - np.cos(angle))
    heights = np.broadcast_to(y, width.shape)
    return project(pose, np.stack([width * np.sin(angle), heights, depth], axis=-1))


def silhouette(pose: Pose) -> Array:
    """Return (B,) half the width a head shows over its half width."""
    return np.sqrt(np.cos(pose.yaw) ** 2 + (_profile(pose).round * np.sin(pose.yaw)) ** 2)


def _profile(pose: Pose) -> _Profile:
    return _Profile(*_PROFILES[pose.meshed.astype(np.int64)].T)


def pose_columns(pose: Pose) -> dict[str, Array]:
    """Return the per-face constants that `pixels_to_sheet` reads, each (B,) float64."""
    profile = _profile(pose)
    cos_yaw, sin_yaw = np.cos(pose.yaw), np.sin(pose.yaw)
    # Seen from the side an ellipse is again a sinusoid: stretch and phase of x over the angle.
    stretch = silhouette(pose)
    cos_phase, sin_phase = cos_yaw / stretch, profile.round * sin_yaw / stretch
    cos, sin = pose.cos / pose.scale**2, pose.sin / pose.scale**2
    tip = np.tan(pose.pitch) / pose.length
    rise = 1 / (np.cos(pose.pitch) * pose.length)
    # The guessed height allows for the front line's depth at the mouth; see `pixels_to_sheet`.
    front = profile.front * cos_yaw
    tip_even = tip * (profile.round * cos_phase * cos_yaw + sin_phase * sin_yaw)
    tip_odd = tip * (profile.round * sin_phase * cos_yaw - cos_phase * sin_yaw)
    return {
        "cos": cos,
        "sin": sin,
        "down_cos": cos * rise,
        "right_sin": sin * rise,
        "tx": pose.tx + pose.sin * tip * front / rise,
        "ty": pose.ty - pose.cos * tip * front / rise,
        "front_x": profile.front * sin_yaw,
        "front_at": profile.at,
        "front_fall": profile.fall,
        "round_depth": profile.round,
        "guess_fall": -profile.flat * tip,
        "guess_drop": np.where(pose.meshed, -profile.fall * tip * cos_yaw, 0.0),
        "sin_yaw": sin_yaw,
        "tip_cos_yaw": tip * cos_yaw,
        "tip_even": tip_even,
        "tip_odd": tip_odd,
        "stretch": stretch,
        "cos_phase": cos_phase,
        "sin_phase": sin_phase,
        "near_side": -np.sign(sin_phase),
        "unit": 1 / pose.scale,
        "minus_half_square": -((_HALF_WIDTH * pose.girth) ** 2),
        "per_height": 1 / (_HALF_HEIGHT + pose.chin),
    }


def pixels_to_sheet(place: Fields, rows: Tensor, columns: Tensor) -> Sheet:
    """Find where each pixel's line of sight meets the sheet, (B, H, W).

    Args:
        place: The columns of `pose_columns`, each (B, 1, 1) float32.
        rows: (H,) float32, pixel rows, centres at integers.
        columns: (W,) float32, pixel columns.
    """
    right = columns - place["tx"]  # (B, 1, W)
    down = rows[:, None] - place["ty"]  # (B, H, 1)
    # (B, H, W) from here on: sideways from the front line's foremost point, and down.
    across = right * place["cos"] + (down * place["sin"] - place["front_x"])
    along = down * place["down_cos"] - right * place["right_sin"]
    # The height decides the radius and, through pitch, the radius the height: guess the height
    # from a flatter sheet, then correct it once.
    lower = along - place["front_at"]
    y = torch.addcmul(along, across * across, place["guess_fall"])
    y.addcmul_(lower.mul_(lower), place["guess_drop"])
    width = (y - _WIDEST).mul_(place["per_height"])
    width = width.mul_(width).sub_(1).clamp_(max=-_LEAST).mul_(place["minus_half_square"]).sqrt_()
    lower = y.sub_(place["front_at"])
    # The axis, from that point.
    behind = lower.mul_(lower).mul_(place["front_fall"]).add_(width * place["round_depth"])
    reach = width * place["stretch"]
    seen = across.addcmul_(behind, place["sin_yaw"]).div_(reach)
    inside = seen.clamp(-1, 1)
    front = (inside * inside).sub_(1).abs_().sqrt_()
    depth = (front * place["tip_even"]).addcmul_(inside, place["tip_odd"])
    y = along.addcmul_(depth, width).addcmul_(behind, place["tip_cos_yaw"], value=-1)
    cosine = (front * place["cos_phase"]).addcmul_(inside, place["sin_phase"])
    sine = (inside * place["cos_phase"]).addcmul_(front, place["sin_phase"], value=-1)
    # Behind the ear, which only the near side shows, the sine comes back. x must keep growing, up
    # to the largest yaw, but gently: a field that jumps at the silhouette leaves specks there.
    hidden = cosine.clamp_(max=0)
    sine.addcmul_(hidden.mul_(hidden), place["near_side"])
    # Past the silhouette x goes on outwards, so that fields of x stay monotone there.
    x = (seen - inside).add_(sine).mul_(width)
    return Sheet(x=x, y=y, sine=sine, limb=seen.abs_().sub_(1).mul_(reach).neg_())


def bounding_boxes(pose: Pose, top: float, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the pixels that hold each head's sheet below a height, in a picture of a size (H, W).

    Returns:
        (B, 2, 2): first row and column, and those behind the last, within the picture; of a face
        outside it they are the same.
    """
    y, angle = np.meshgrid(np.linspace(top, 2.8, 10), np.linspace(-2.6, 2.6, 13), indexing="ij")
    corners = sheet_to_pixels(pose, y.ravel(), angle.ravel())  # (B, 130, 2)
    margin = 0.12 * pose.scale[:, None, None]
    low = np.floor((corners - margin).min(axis=1))
    high = np.ceil((corners + margin).max(axis=1)) + 1
    boxes = np.stack([low, np.maximum(low, high)], axis=1)[..., ::-1]
    return np.clip(boxes, 0, size).astype(np.int64)


def pixel_axes(rows: slice, columns: slice, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the row and column numbers of a box as float32 vectors on `device`."""
    row = torch.arange(rows.start, rows.stop, dtype=torch.float32, device=device)
    column = torch.arange(columns.start, columns.stop, dtype=torch.float32, device=device)
    return row, column


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

    Girth stays within 0.82 and 1.22, chin within -0.25 and 0.35 face units.

    Args:
        pose: B placements.
        landmarks: (B, 68, 2) pixels in iBUG order; a face that has none holds NaN and keeps the
            mean head.

    Raises:
        ShapeError: `landmarks` is not (B, 68, 2).
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

    Args:
        points: (B, 5, 2) eyes, nose tip, mouth corners, (x, y) in pixels, centres at integers.
        landmarks: (B, 68, 2) in the iBUG order; NaN for a face that has none.
        turns: (B, 2) yaw and pitch in degrees, see `Pose`, of faces whose landmarks were picked
            from a mesh; NaN for others.

    Returns:
        B placements. A face's does not depend on the others.

    Raises:
        ShapeError: the arrays do not fit together.
        ItemError: a point is not finite, or the points of a face coincide.
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
        others = fit_mesh(marks[meshed], told[meshed])
        for field in fields(Pose):
            getattr(pose, field.name)[meshed] = getattr(others, field.name)
    return follow_jaw(pose, marks)
