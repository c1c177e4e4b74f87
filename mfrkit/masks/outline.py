"""Outlines as signed fields: positive inside, zero on the edge, in face units.

A field keeps its meaning at every resolution, gives the soft edge and the contact shadow alike,
and needs only arithmetic and square roots (see `head`). The outline of each shape of mask or
occluder takes the per-face columns and coordinates in the mask's own frame, and returns a field
before the head's silhouette cuts it.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mfrkit.masks.canvas import Canvas, Fields

JAW_SCALE = 0.78  # one over how fast a field would rise across the jaw's slope


def smooth_min(a: Tensor, b: Tensor, radius: float) -> Tensor:
    """Return the lesser of two fields, the corner between them rounded over a radius > 0.

    It equals the lesser where they differ by the radius or more.

    Example:
        >>> smooth_min(torch.tensor([0.0, 5.0]), torch.tensor([0.0, 0.0]), 1.0).tolist()
        [-0.25, 0.0]
    """
    overlap = (a - b).abs_().sub_(radius).clamp_(max=0)
    return torch.minimum(a, b).addcmul_(overlap, overlap, value=-0.25 / radius)


def step(x: Tensor, low: float, high: float) -> Tensor:
    """Return 0 below `low`, 1 above `high`, a straight rise between; `high` may be the lesser."""
    return (x - low).mul_(1 / (high - low)).clamp_(0, 1)


def worn(look: Fields, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Take (B, H, W) face coordinates into the mask's frame, where it is straight and to size."""
    turned = (x * look["worn_xx"]).addcmul_(y, look["worn_xy"]).add_(look["worn_x"])
    upright = (x * look["worn_yx"]).addcmul_(y, look["worn_yy"]).add_(look["worn_y"])
    return turned, upright


def from_top(look: Fields, square: Tensor, y: Tensor) -> Tensor:
    """Return the distance below the upper edge, which bends over the nose, (B, H, W).

    Args:
        look: Columns `peak_square`, `fall` and `top`.
        square: (B, H, W) square of the distance from the mid-line.
        y: (B, H, W) height.
    """
    bend = (square + look["peak_square"]).sqrt_()
    return (y - look["top"]).addcmul_(bend, look["fall"], value=-1)


def cords(look: Fields, x: Tensor, y: Tensor) -> Tensor:
    """Return the field of both cords, on both sides of the head; they run on past the silhouette.

    Args:
        look: For "upper" and "lower" the columns `{which}_x` (where it starts, plus its half
            width), `{which}_a`, `{which}_b`, `{which}_c` (its line, a * |x| + b * y = c with a and
            b of unit length); and `cord` (half width).
        x: (B, H, W) distance from the mid-line, face units.
        y: (B, H, W) height.
    """
    outside = x.abs()
    apart = []
    for which in ("upper", "lower"):
        line = (outside * look[which + "_a"]).addcmul_(y, look[which + "_b"])
        line.sub_(look[which + "_c"])
        apart.append(torch.maximum(line.abs_(), look[which + "_x"] - outside))
    return torch.minimum(*apart).neg_().add_(look["cord"])


def rise(field: Tensor) -> tuple[Tensor, Tensor]:
    """Return a (B, H, W) field's change over two pixels, to the right and downwards.

    New tensors, of no meaning in the first and last row and column.
    """
    # Seen as one long row a face, the neighbours of all inner pixels are a fixed step away.
    flat = field.flatten(1)
    changes = []
    for step_ in (1, field.shape[2]):
        change = torch.zeros_like(flat)
        torch.sub(flat[:, 2 * step_ :], flat[:, : -2 * step_], out=change[:, step_:-step_])
        changes.append(change.view_as(field))
    return changes[0], changes[1]


def distance(field: Tensor) -> Tensor:
    """Return the distance from a field's edge in pairs of pixels, positive inside; true near it.

    The field is divided by its own steepness, so that an edge is as soft, and a shadow as wide, on
    a foreshortened cheek as on a frontal one. Of no meaning in the first and last row and column.
    """
    right, down = rise(field)
    steep = right.mul_(right).addcmul_(down, down).sqrt_().clamp_(min=1e-6)
    return torch.div(field, steep, out=steep)


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
    """Return the field of a mask with an upper edge over the nose, two sides and a jaw line."""
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


OUTLINES: Mapping[str, Outline] = {
    "shield": shield,
    "wide": wide,
    "round": round_off,
    "box": box,
    "hand": hand,
}
