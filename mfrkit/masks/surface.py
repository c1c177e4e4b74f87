"""The curved sheet masks are drawn on, and the map between it and the picture.

A turned face shows its far cheek foreshortened and loses it past the silhouette; a flat homography
shows neither. The sheet is an elliptic cylinder whose radius shrinks towards the chin and whose
front follows the profile from nose to chin, so that every pixel has a closed-form place on it.
Only arithmetic and square roots are used on pixels: these are rounded once, and alike in every
vector lane (multiply-adds too), so a pixel's value cannot depend on which thread or batch computed
it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.fields import Fields
from mfrkit.masks.pose import Array, Pose, project

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
    """Return the mean head's half width at height `y`, any shape, face units.

    Args:
        y: Height.
        chin: How far the chin lies below the mean one; broadcast against `y`.

    Returns:
        What the two broadcast to.
    """
    drop = (y - _WIDEST) / (_HALF_HEIGHT + chin)
    return _HALF_WIDTH * np.sqrt(np.maximum(1 - drop**2, _LEAST))


def sheet_to_pixels(pose: Pose, y: Array, angle: Array) -> Array:
    """Take sheet points to pixels.

    Args:
        pose: B placements.
        y: (N,) float64, height in face units.
        angle: (N,) float64, radians round the cylinder, 0 at the mid-line.

    Returns:
        (B, N, 2) float64, (x, y) in pixels.
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
    """Return the profiles of B heads, (B,) each."""
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
    """Find where each pixel's line of sight meets the sheet.

    Args:
        place: The columns of `pose_columns`, each (B, 1, 1) float32.
        rows: (H,) float32, pixel rows, centres at integers.
        columns: (W,) float32, pixel columns.

    Returns:
        The sheet coordinates of the (B, H, W) pixels.
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
    """Return the pixels that hold each head's sheet below a height.

    Args:
        pose: B placements.
        top: That height, face units.
        size: (H, W) of the picture.

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
