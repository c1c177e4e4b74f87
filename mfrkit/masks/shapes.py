"""Outlines by name: where on the sheet each shape of mask or occluder lies.

Each takes the per-face columns and coordinates in the mask's own frame, and returns a signed field
(see `outline`) before the head's silhouette cuts it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mfrkit.masks.canvas import Canvas
from mfrkit.masks.outline import JAW_SCALE, from_top, smooth_min

Outline = Callable[[Canvas, float], Tensor]
# Palm and four fingers lying aslant over the mouth: ends (x, y) and radius of each capsule.
_HAND = (
    (0.55, 1.45, 0.10, 1.25, 0.38),
    (0.20, 1.00, -0.62, 0.76, 0.115),
    (0.15, 1.18, -0.74, 1.00, 0.12),
    (0.15, 1.38, -0.70, 1.25, 0.115),
    (0.20, 1.56, -0.54, 1.50, 0.10),
    (0.90, 1.80, 0.60, 1.50, 0.36),
)


def shield(canvas: Canvas, corner: float) -> Tensor:
    """Return the field of a mask with an upper edge over the nose, two sides and a jaw line.

    Args:
        canvas: The pixels; of its columns, those of `columns.shape_columns` count.
        corner: Radius of its corners.

    Returns:
        (B, H, W) signed distance, nearly.
    """
    look, y, square = canvas.look, canvas.y, canvas.square
    upper = from_top(look, square, y)
    sides = (look["side"] - canvas.x.abs()).addcmul_(y, look["taper"], value=-1)
    bend = (square + look["chin_square"]).sqrt_()
    lower = (y * -JAW_SCALE).addcmul_(bend, look["jaw"], value=-1).add_(look["bottom"])
    return smooth_min(smooth_min(upper, sides, corner), lower, corner)


def wide(canvas: Canvas, corner: float) -> Tensor:
    """Return the field of all below a straight-lined upper edge, down to the chin."""
    look, x, y = canvas.look, canvas.x, canvas.y
    beyond = x.abs() - look["knee"]
    rise = beyond.clamp(max=0) * look["inner"] + beyond.clamp(min=0) * look["fall"]
    return torch.minimum(y - look["level"] - rise, look["end"] - y)


def round_off(canvas: Canvas, corner: float) -> Tensor:
    """Return the field of an ellipse between the heights of the upper and the lower edge."""
    look, x, y = canvas.look, canvas.x, canvas.y
    tall = (look["end"] - look["level"]) * 0.5
    across, down = x * (1 / look["half"]), (y - look["level"] - tall) * (1 / tall)
    return (1 - (across * across + down * down).sqrt()) * torch.minimum(tall, look["half"])


def box(canvas: Canvas, corner: float) -> Tensor:
    """Return the field of an upright rectangle."""
    look, x, y = canvas.look, canvas.x, canvas.y
    tall = torch.minimum(y - look["level"], look["end"] - y)
    return torch.minimum(tall, look["half"] - x.abs())


def hand(canvas: Canvas, corner: float) -> Tensor:
    """Return the field of a hand laid over the mouth from the picture's right."""
    x = canvas.x
    field = torch.full_like(x, -1.0)  # creases, where two capsules are equally near, show as gaps
    down = canvas.y - (canvas.look["level"] - 0.62)
    for x0, y0, x1, y1, radius in _HAND:
        dx, dy = x1 - x0, y1 - y0
        right, below = x - x0, down - y0
        along = ((right * dx + below * dy) * (1 / (dx * dx + dy * dy))).clamp(0, 1)
        right, below = right - along * dx, below - along * dy
        field = torch.maximum(field, radius - (right * right + below * below).sqrt())
    return field


OUTLINES: Mapping[str, Outline] = MappingProxyType(
    {
        "shield": shield,
        "wide": wide,
        "round": round_off,
        "box": box,
        "hand": hand,
    }
)
