"""Outlines as signed fields: positive inside, zero on the edge, in face units.

A field keeps its meaning at every resolution, gives the soft edge and the contact shadow alike,
and needs only exactly rounded arithmetic (see `surface`).
"""

import torch
from torch import Tensor

Fields = dict[str, Tensor]
JAW_SCALE = 0.78  # one over how fast a field would rise across the jaw's slope


def smooth_min(a: Tensor, b: Tensor, radius: float) -> Tensor:
    """Return the lesser of two fields, with the corner between them rounded.

    Args:
        a: Any shape.
        b: Same shape.
        radius: Size of the rounding, in the unit of the fields, > 0.

    Returns:
        Never more than the lesser, and equal to it where they differ by `radius` or more.

    Example:
        >>> smooth_min(torch.tensor([0.0, 5.0]), torch.tensor([0.0, 0.0]), 1.0).tolist()
        [-0.25, 0.0]
    """
    overlap = (a - b).abs_().neg_().add_(radius).clamp_(min=0)
    return torch.minimum(a, b).sub_(overlap.mul_(overlap).mul_(0.25 / radius))


def step(x: Tensor, low: float, high: float) -> Tensor:
    """Return 0 below `low`, 1 above `high`, a straight rise between; `high` may be the lesser."""
    return (x - low).mul_(1 / (high - low)).clamp_(0, 1)


def ramp(x: Tensor, low: float, high: float) -> Tensor:
    """Return `step` with its two corners smoothed."""
    t = step(x, low, high)
    return (t * -2).add_(3).mul_(t).mul_(t)


def worn(look: Fields, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Move face coordinates into the mask's own frame, where it is worn straight and true to size.

    Args:
        look: Per-face columns, each (B, 1, 1).
        x: (B, H, W) face units.
        y: Likewise.

    Returns:
        x and y of the same pixels on the mask.
    """
    across, down = x - look["shift_x"], y - look["center"]
    turned = (across * look["worn_right"]).add_(down * look["worn_right_down"])
    upright = down.mul_(look["worn_down"]).sub_(across.mul_(look["worn_down_right"])).add_(1.0)
    return turned, upright


def from_top(look: Fields, x: Tensor, y: Tensor) -> Tensor:
    """Return the distance below the upper edge, which bends over the nose, (B, H, W)."""
    bend = (x * x).add_(look["peak_square"]).sqrt_().mul_(-look["fall"])
    return bend.add_(y).sub_(look["top"])


def cord(look: Fields, outside: Tensor, y: Tensor, which: str) -> Tensor:
    """Return the field of the upper or lower cord, on both sides of the head.

    Args:
        look: Columns `{which}_x` (where it starts), `{which}_a`, `{which}_b`, `{which}_c` (its
            line, a * |x| + b * y = c with a and b of unit length) and `cord` (half width).
        outside: (B, H, W) distance from the mid-line, |x|, face units.
        y: (B, H, W) height.
        which: "upper" or "lower".

    Returns:
        (B, H, W) signed distance; the cord runs on outwards past the silhouette.
    """
    away = (outside * look[which + "_a"]).add_(y * look[which + "_b"]).sub_(look[which + "_c"])
    return torch.minimum(away.abs_().neg_().add_(look["cord"]), outside - look[which + "_x"])


def slope(field: Tensor) -> tuple[Tensor, Tensor]:
    """Return a field's change per pixel to the right and downwards, (B, H, W) each.

    Central differences; one-sided at the border, where the nearest inner value is repeated.
    """
    right = torch.empty_like(field)
    right[..., 1:-1] = (field[..., 2:] - field[..., :-2]) * 0.5
    right[..., 0] = field[..., 1] - field[..., 0]
    right[..., -1] = field[..., -1] - field[..., -2]
    down = torch.empty_like(field)
    down[..., 1:-1, :] = (field[..., 2:, :] - field[..., :-2, :]) * 0.5
    down[..., 0, :] = field[..., 1, :] - field[..., 0, :]
    down[..., -1, :] = field[..., -1, :] - field[..., -2, :]
    return right, down


def distance(field: Tensor) -> Tensor:
    """Return the distance from a field's edge in pixels, positive inside; true near the edge.

    The field is divided by its own steepness, so that an edge is as soft, and a shadow as wide, on
    a foreshortened cheek as on a frontal one.

    Args:
        field: (B, H, W), H and W at least 2.

    Returns:
        (B, H, W) pixels.
    """
    right, down = slope(field)
    steep = right.mul_(right).add_(down.mul_(down)).sqrt_().clamp_(min=1e-6)
    return torch.div(field, steep, out=steep)
