"""Outlines by name: where on the sheet each shape of mask or occluder lies.

Each takes the per-face columns and coordinates in the mask's own frame, and returns a signed field
(see `outline`) before the head's silhouette cuts it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mfrkit.masks.outline import JAW_SCALE, Fields, from_top, smooth_min

Outline = Callable[[Fields, Tensor, Tensor, float], Tensor]
# Palm and four fingers lying aslant over the mouth: ends (x, y) and radius of each capsule.
_HAND = (
    (0.55, 1.45, 0.10, 1.25, 0.38),
    (0.20, 1.00, -0.62, 0.76, 0.115),
    (0.15, 1.18, -0.74, 1.00, 0.12),
    (0.15, 1.38, -0.70, 1.25, 0.115),
    (0.20, 1.56, -0.54, 1.50, 0.10),
    (0.90, 1.80, 0.60, 1.50, 0.36),
)


def shield(look: Fields, x: Tensor, y: Tensor, corner: float) -> Tensor:
    """Return the field of a mask with an upper edge over the nose, two sides and a jaw line.

    Args:
        look: Columns of the shape (see `mask_columns.shape_columns`), each (B, 1, 1).
        x: (B, H, W) in the mask's frame.
        y: Likewise.
        corner: Radius of its corners.

    Returns:
        (B, H, W) signed distance, nearly.
    """
    sides = look["side"] - x.abs() - y * look["taper"]
    lower = look["bottom"] - y * JAW_SCALE - (x * x + look["chin_square"]).sqrt() * look["jaw"]
    return smooth_min(smooth_min(from_top(look, x, y), sides, corner), lower, corner)


def wide(look: Fields, x: Tensor, y: Tensor, corner: float) -> Tensor:
    """Return the field of all below a straight-lined upper edge, down to the chin."""
    beyond = x.abs() - look["knee"]
    rise = beyond.clamp(max=0) * look["inner"] + beyond.clamp(min=0) * look["fall"]
    return torch.minimum(y - look["level"] - rise, look["end"] - y)


def round_off(look: Fields, x: Tensor, y: Tensor, corner: float) -> Tensor:
    """Return the field of an ellipse between the heights of the upper and the lower edge."""
    tall = (look["end"] - look["level"]) * 0.5
    across, down = x * (1 / look["half"]), (y - look["level"] - tall) * (1 / tall)
    return (1 - (across * across + down * down).sqrt()) * torch.minimum(tall, look["half"])


def box(look: Fields, x: Tensor, y: Tensor, corner: float) -> Tensor:
    """Return the field of an upright rectangle."""
    tall = torch.minimum(y - look["level"], look["end"] - y)
    return torch.minimum(tall, look["half"] - x.abs())


def hand(look: Fields, x: Tensor, y: Tensor, corner: float) -> Tensor:
    """Return the field of a hand laid over the mouth from the picture's right."""
    field = torch.full_like(
        x, -1.0
    )  # its creases, where two capsules are equally near, show as gaps
    down = y - (look["level"] - 0.62)
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
