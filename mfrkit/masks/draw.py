"""From a painted surface to the layer laid over a face: edge, shadow, light, colour and grain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.camera import BLOCK
from mfrkit.masks.canvas import Box, Canvas, Fields, NoiseTiles, Paint, Printed, color
from mfrkit.masks.head import Sheet, pixel_axes, pixels_to_sheet
from mfrkit.masks.kinds import TEMPLATE, Kind
from mfrkit.masks.outline import OUTLINES, cords, distance, rise, step, worn
from mfrkit.masks.paint import PAINTERS
from mfrkit.masks.spec import MaskSpec


@dataclass(frozen=True)
class Layer:
    """What is laid over b faces: picture * keep + color, then compressed if it has a quality.

    Attributes:
        rows: The pixel rows it lies over; h of them.
        columns: The pixel columns; w of them.
        alpha: (b, h, w) in [0, 1], how much of each pixel is covered.
        keep: (b, h, w) in [0, 1], what is left of the picture, under the contact shadow.
        color: (b, 3, h, w) RGB, `alpha` times the mask's colour; highlights may exceed 1.
        quality: (b,) what to hand to `camera.add_grain`; None if no face has any grain.
    """

    rows: slice
    columns: slice
    alpha: Tensor
    keep: Tensor
    color: Tensor
    quality: NDArray[np.int64] | None = None

    def compressed(self, quality: NDArray[np.int64], size: tuple[int, int]) -> "Layer":
        """Return the layer spread over whole blocks of the pictures' JPEG grid, new pixels bare.

        Args:
            quality: (b,) of the pictures, 0 for a clean one.
            size: (H, W) of the pictures; the last blocks may end with them.
        """
        rows, columns = _whole(self.rows, size[0]), _whole(self.columns, size[1])
        beyond = (
            self.columns.start - columns.start,
            columns.stop - self.columns.stop,
            self.rows.start - rows.start,
            rows.stop - self.rows.stop,
        )
        alpha, color = F.pad(self.alpha, beyond), F.pad(self.color, beyond)
        return Layer(rows, columns, alpha, F.pad(self.keep, beyond, value=1), color, quality)


def _whole(pixels: slice, end: int) -> slice:
    """Return the rows or columns of the blocks that some lie in, up to the picture's end."""
    start, stop = pixels.start // BLOCK * BLOCK, -(-pixels.stop // BLOCK) * BLOCK
    return slice(start, min(stop, end))


TOP = 0.08  # nothing is drawn above this height, face units
SHADOW_REACH = 0.10  # how far outside the edge the contact shadow ends, along the sheet
_THICKNESS = 0.035  # how far the mask stands out from the head at the silhouette
_STITCH_WHITE = 0.86
_WASTE = 1.3  # a box is cut smaller if it has this many times the pixels it needs


def draw_layer(
    specs: Sequence[MaskSpec],
    kind: Kind,
    look: Fields,
    tiles: NoiseTiles,
    template: Printed | None,
    box: tuple[slice, slice],
) -> Layer | None:
    """Draw the masks of b faces.

    Args:
        specs: Their specs, all of one kind.
        kind: That kind.
        look: All per-face columns, each (b, 1, 1) float32.
        tiles: The renderer's noise.
        template: The user's own masks, for the kinds "template" and "worn".
        box: Pixel rows and columns that may be drawn on, at least one each.

    Returns:
        The layer over the pixels that are; None if there are none.
    """
    # A rim of one pixel, be it outside the picture, has the neighbours that slopes are taken from.
    rows, columns = _rimmed(box[0]), _rimmed(box[1])
    sheet = pixels_to_sheet(look, *pixel_axes(rows, columns, look["unit"].device))
    canvas = _canvas(specs, look, tiles, template, sheet)
    # The box ends higher: nothing may reach its rim, or what is drawn would depend on it.
    below_top = sheet.y - TOP
    edge = torch.minimum(_outline(kind, canvas), below_top)
    near = None
    if kind.cord and any(spec.cords for spec in specs):
        # They end before the silhouette makes them too thin.
        near = torch.minimum(cords(look, canvas.x, canvas.y), (canvas.limb - 0.04))
        near = torch.minimum(near, below_top)

    tight = _occupied(edge, near, look["pixel"])
    if tight is None:
        return None
    if edge[tight].numel() * _WASTE < edge.numel():
        edge, canvas = edge[tight].contiguous(), canvas.crop(tight)
        near = near if near is None else near[tight]
        rows, columns = _part(rows, tight[1]), _part(columns, tight[2])

    paint = PAINTERS[kind.paint](canvas, edge)
    tone = _lit(canvas, paint.height)
    if paint.tone is not None:
        tone.mul_(paint.tone)
    apart = distance(edge)  # wrong where the silhouette squeezes the field
    starts = [(spec.grain_row, spec.grain_column) for spec in specs]
    shine = tiles.camera(starts, rows, columns).mul_(look["grain"])
    if paint.gloss is not None:
        shine.add_(paint.gloss)
    layer = _layer(canvas, paint, tone, shine, edge, apart, near)
    inner = (..., slice(1, -1), slice(1, -1))
    alpha, keep, shown = (plane[inner] for plane in layer)
    return Layer(_part(rows, slice(1, -1)), _part(columns, slice(1, -1)), alpha, keep, shown)


def _rimmed(pixels: slice) -> slice:
    return slice(pixels.start - 1, pixels.stop + 1)


def _part(pixels: slice, part: slice) -> slice:
    """Return the pixels that a part of their numbers stands for."""
    numbers = range(pixels.start, pixels.stop)[part]
    return slice(numbers.start, numbers.stop)


def _canvas(
    specs: Sequence[MaskSpec],
    look: Fields,
    tiles: NoiseTiles,
    template: Printed | None,
    sheet: Sheet,
) -> Canvas:
    x, y = worn(look, sheet.x, sheet.y)
    return Canvas(
        x=x,
        y=y,
        square=x * x,
        sine=sheet.sine,
        limb=sheet.limb,
        head_x=sheet.x,
        head_y=sheet.y,
        waves=tiles.wrinkles(x, y, look["crease_u"], look["crease_v"]),
        pixel=look["pixel"],
        look=look,
        texture=tuple(spec.texture for spec in specs),
        tiles=tiles,
        template=template,
    )


def _outline(kind: Kind, canvas: Canvas) -> Tensor:
    shape = kind.shape
    if shape.outline == TEMPLATE and canvas.template is not None:
        edge = canvas.template.read(canvas.look, canvas.x, canvas.y, slice(3, 4))[:, 0]
    else:
        edge = OUTLINES[shape.outline](canvas, shape.corner)
    edge = edge.addcmul_(canvas.waves, canvas.look["slack"])
    if shape.cut == "none":
        return edge
    limit = canvas.limb + _THICKNESS
    if shape.cut == "jaw":  # below the mouth it hangs clear of the head
        limit.add_(step(canvas.y, 1.1, 1.9))
    return torch.minimum(edge, limit)


def _occupied(edge: Tensor, near: Tensor | None, pixel: Tensor) -> Box | None:
    """Return the smallest box round all that is drawn on any face and a rim; None if nothing is.

    Between what the fields reach and the rim lies one pixel more, for edges steeper than a pixel.
    """
    reach = edge.amax(dim=0) + SHADOW_REACH
    if near is not None:
        reach = torch.maximum(reach, (near + pixel).amax(dim=0))
    drawn = (reach > 0)[1:-1, 1:-1].cpu().numpy()
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if len(rows) == 0:
        return None
    return (
        slice(None),
        slice(max(0, int(rows[0]) - 1), int(rows[-1]) + 4),
        slice(max(0, int(columns[0]) - 1), int(columns[-1]) + 4),
    )


def _lit(canvas: Canvas, height: Tensor) -> Tensor:
    """Return brightness: the face's own light, the relief under it, and turning away from it."""
    look, x, y = canvas.look, canvas.head_x.clamp(-1.2, 1.2), canvas.head_y
    gain = (x * look["gain_xx"]).add_(look["gain_x"]).mul_(x).add_(look["gain"])
    gain.addcmul_(y, look["gain_y"])
    right, down = rise(height)
    relief = right.mul_(look["steep_x"]).addcmul_(down, look["steep_y"]).add_(1).clamp_(0.5, 1.4)
    under = (y - 1.3).mul_(1 / 0.65).clamp_(0, 1)
    dark = under.mul_(under).mul_(look["under"])
    dark.addcmul_(canvas.sine * canvas.sine, look["round"])
    gain.mul_(relief)
    return gain.addcmul_(gain, dark, value=-1)


def _layer(
    canvas: Canvas,
    paint: Paint,
    tone: Tensor,
    shine: Tensor,
    edge: Tensor,
    apart: Tensor,
    near: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return coverage, what is left of the picture, and the colour to add (see `Layer`)."""
    look = canvas.look
    alpha = (apart * look["sharp"]).add_(0.5).clamp_(0, 1)
    thread = None
    if near is not None:
        cord = (near * (1 / look["pixel"])).add_(0.5).clamp_(0, 1)
        thread = (cord - alpha).clamp_(min=0)
        alpha = torch.maximum(alpha, cord)
    if paint.opacity is not None:
        alpha = alpha * paint.opacity
    tone.mul_(alpha)
    plane = tone[:, None]  # (b, 1, h, w) from here on
    base = color(look, "color") if paint.own is None else _under_light(look, paint.own)
    shown = base * plane
    if thread is not None:
        white = (_STITCH_WHITE - base) * look["cord_white"][:, None]
        shown.addcmul_(thread.mul_(tone)[:, None], white)
    if paint.accent is not None:
        accent = color(look, "accent") - base
        shown.addcmul_(paint.accent.mul(tone)[:, None], accent)
    shown.add_(shine.mul_(alpha)[:, None])
    keep = _shadow(canvas, torch.minimum(edge, apart.mul_(2 * look["unit"])))
    return alpha, keep.mul_(1 - alpha), shown


def _shadow(canvas: Canvas, edge: Tensor) -> Tensor:
    """Return the factor that darkens skin beside the mask, more below it than above."""
    close = edge.mul_(1 / SHADOW_REACH).add_(1).clamp_(0, 1)
    below = (canvas.head_y * 0.6).add_(0.1).clamp_(0.4, 1)
    dark = close.mul_(close).mul_(step(canvas.limb, -0.02, 0.06)).mul_(below)
    return dark.mul_(-canvas.look["shadow"]).add_(1)


def _under_light(look: Fields, picture: Tensor) -> Tensor:
    """Return a picture's colours as the light's cast and the photo's colourfulness show them."""
    grey = (picture[:, :1] + picture[:, 1:2] + picture[:, 2:]) * (1 / 3)
    return (grey + (picture - grey) * look["vivid"][:, None]) * color(look, "cast")
