"""From a painted surface to pixels: edge, contact shadow, light, colour and camera grain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from mfrkit.masks.canvas import Canvas, Paint, join
from mfrkit.masks.catalog import TEMPLATE, Kind
from mfrkit.masks.kinds import KINDS
from mfrkit.masks.noise import NoiseTiles
from mfrkit.masks.outline import Fields, cord, distance, ramp, slope, step, worn
from mfrkit.masks.paint import PAINTERS
from mfrkit.masks.shapes import OUTLINES
from mfrkit.masks.spec import MaskSpec
from mfrkit.masks.surface import Sheet, pixel_axes, pixels_to_sheet
from mfrkit.masks.template import Template

Box = tuple[slice, slice, slice]  # faces, rows, columns
TOP = 0.08  # nothing is drawn above this height, face units
SHADOW_REACH = 0.10  # how far outside the edge the contact shadow ends, along the sheet
_THICKNESS = 0.035  # how far the mask stands out from the head at the silhouette
_STITCH_WHITE = 0.86


@dataclass(frozen=True)
class Layer:
    """What is laid over b faces.

    Attributes:
        rows: The pixel rows it lies over; h of them, at most to the picture's end.
        columns: The pixel columns; w of them.
        alpha: (b, h, w) in [0, 1], how much of each pixel is covered.
        shade: (b, h, w) in [0, 1], factor on the uncovered picture.
        color: (b, 3, h, w) RGB in [0, 1].
    """

    rows: slice
    columns: slice
    alpha: Tensor
    shade: Tensor
    color: Tensor


def draw_layer(
    specs: Sequence[MaskSpec],
    look: Fields,
    tiles: NoiseTiles,
    template: Template | None,
    rows: slice,
    columns: slice,
) -> Layer | None:
    """Draw the masks of b faces.

    Args:
        specs: Their specs, those of one kind side by side.
        look: All per-face columns, each (b, 1, 1) float32.
        tiles: The renderer's noise.
        template: The user's own mask, for specs of the kind "template".
        rows: Pixel rows that may be drawn on, at least 2.
        columns: Pixel columns, at least 2.

    Returns:
        The layer over the pixels that are; None if there are none.
    """
    sheet = pixels_to_sheet(look, *pixel_axes(rows, columns, look["unit"].device))
    canvas = _canvas(specs, look, tiles, template, sheet)
    groups = list(_groups(specs, look))
    edge = torch.cat([_outline(kind, canvas.part(f, its)) for kind, f, its in groups])
    # The box ends higher: nothing may reach its rim, or what is drawn would depend on it.
    edge = torch.minimum(edge, sheet.y - TOP)
    near = _cords(look, canvas, sheet)

    tight = _occupied(torch.maximum(edge + SHADOW_REACH, near + look["pixel"]))
    if tight is None:
        return None
    edge, near = edge[tight], near[tight]
    sheet, canvas = sheet.crop(tight), canvas.crop(tight)
    rows = slice(rows.start + tight[1].start, rows.start + tight[1].stop)
    columns = slice(columns.start + tight[2].start, columns.start + tight[2].stop)

    paint = join([PAINTERS[k.paint](canvas.part(f, its), edge[f]) for k, f, its in groups])
    apart = distance(edge)  # pixels; wrong where the silhouette squeezes the field
    cloth = (apart / (look["soft"] / look["unit"] + look["blur"]) + 0.5).clamp(0, 1)
    thread = (near / look["pixel"] + 0.5).clamp(0, 1)
    alpha = torch.maximum(cloth, thread)
    if paint.opacity is not None:
        alpha = alpha * paint.opacity
    tone = paint.tone * _lit(look, sheet, paint.height)
    starts = [(spec.grain_row, spec.grain_column) for spec in specs]
    grain = tiles.camera(starts, rows, columns) * look["grain"]
    color = _color(look, tone, paint, (thread - cloth).clamp(min=0), grain)
    shade = _shadow(look, sheet, torch.minimum(edge, apart * look["unit"]))
    return Layer(rows, columns, alpha, shade, color)


def _groups(specs: Sequence[MaskSpec], look: Fields) -> Iterator[tuple[Kind, slice, Fields]]:
    """Yield each kind with the faces that wear it, which are side by side, and their columns."""
    for name, group in groupby(range(len(specs)), key=lambda i: specs[i].kind):
        wearers = list(group)
        faces = slice(wearers[0], wearers[-1] + 1)
        yield KINDS[name], faces, {field: column[faces] for field, column in look.items()}


def _canvas(
    specs: Sequence[MaskSpec],
    look: Fields,
    tiles: NoiseTiles,
    template: Template | None,
    sheet: Sheet,
) -> Canvas:
    """Return the sheet as painters see it."""
    x, y = worn(look, sheet.x, sheet.y)
    # Length along the cloth from the mid-line: the arc sine's first terms, times the radius.
    square = (sheet.sine * sheet.sine).clamp(max=1)
    arc = x * (square * (square * 0.075 + 0.1667) + 1)
    waves = tiles.wrinkles(arc, y, look["crease_u"], look["crease_v"])
    textures = tuple(spec.texture for spec in specs)
    return Canvas(x, y, arc, sheet.limb, waves, look["pixel"], look, textures, tiles, template)


def _outline(kind: Kind, canvas: Canvas) -> Tensor:
    """Return the field of the outline of faces that all wear one kind."""
    shape = kind.shape
    if shape.outline == TEMPLATE and canvas.template is not None:
        edge = canvas.template.read(canvas.look, canvas.x, canvas.y, slice(3, 4))[:, 0]
    else:
        edge = OUTLINES[shape.outline](canvas.look, canvas.x, canvas.y, shape.corner)
    edge = edge + canvas.waves * canvas.look["slack"]
    if shape.cut == "none":
        return edge
    limit = canvas.limb + _THICKNESS
    if shape.cut == "jaw":  # below the mouth it hangs clear of the head
        limit = limit + step(canvas.y, 1.1, 1.9)
    return torch.minimum(edge, limit)


def _cords(look: Fields, canvas: Canvas, sheet: Sheet) -> Tensor:
    """Return the field of both cords; they end before the silhouette makes them too thin."""
    outside = canvas.x.abs()
    near = torch.maximum(
        cord(look, outside, canvas.y, "upper"), cord(look, outside, canvas.y, "lower")
    )
    return torch.minimum(near, torch.minimum(sheet.limb - 0.04, sheet.y - TOP))


def _occupied(field: Tensor) -> Box | None:
    """Return the smallest box round all that is positive on any face, and two pixels more.

    With that rim, no pixel that is drawn sees the box's border in its differences.
    """
    drawn = (field.amax(dim=0) > 0).cpu().numpy()
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if len(rows) == 0:
        return None
    return (
        slice(None),
        slice(max(0, int(rows[0]) - 2), min(len(drawn), int(rows[-1]) + 3)),
        slice(max(0, int(columns[0]) - 2), min(drawn.shape[1], int(columns[-1]) + 3)),
    )


def _shadow(look: Fields, sheet: Sheet, edge: Tensor) -> Tensor:
    """Return the factor that darkens skin beside the mask, more below it than above."""
    close = ramp(edge, -SHADOW_REACH, 0.0)
    below = step(sheet.y, 0.5, 1.5).mul_(0.6).add_(0.4)
    dark = close.mul_(close).mul_(step(sheet.limb, -0.02, 0.06)).mul_(below)
    return dark.mul_(-look["shadow"]).add_(1)


def _lit(look: Fields, sheet: Sheet, height: Tensor) -> Tensor:
    """Return brightness: the face's own light, the relief under it, and turning away from it."""
    x, y = sheet.x.clamp(-1.2, 1.2), sheet.y - 0.8
    gain = (x * look["gain_xx"]).add_(look["gain_x"]).mul_(x).add_(look["gain"])
    gain += y.mul_(look["gain_y"])
    right, down = slope(height)
    steep = look["relief"] / look["unit"]
    relief = right.mul_(look["light_x"] * -steep).sub_(down.mul_(look["light_y"] * steep)).add_(1)
    away = (sheet.sine * sheet.sine).mul_(-look["round"]).add_(1)
    under = ramp(sheet.y, 1.45, 2.0).mul_(-look["under"]).add_(1)
    return gain.mul_(relief.clamp_(0.5, 1.4)).mul_(away).mul_(under)


def _under_light(look: Fields, picture: Tensor) -> Tensor:
    """Return a picture's colours as the light's cast and the photo's colourfulness show them."""
    cast = torch.stack([look["cast_" + name] for name in "rgb"], dim=1)  # (b, 3, 1, 1)
    grey = (picture[:, :1] + picture[:, 1:2] + picture[:, 2:]) * (1 / 3)
    return (grey + (picture - grey) * look["vivid"][:, None]) * cast


def _color(look: Fields, tone: Tensor, paint: Paint, thread: Tensor, grain: Tensor) -> Tensor:
    """Return the lit colour with the camera's grain, (b, 3, h, w)."""
    color = torch.stack([look["color_" + name] for name in "rgb"], dim=1)  # (b, 3, 1, 1)
    if paint.own is not None:
        color = torch.where(paint.own < 0, color, _under_light(look, paint.own))
    shown = color + thread[:, None] * ((_STITCH_WHITE - color) * look["cord_white"][:, None])
    if paint.accent is not None:
        accent = torch.stack([look["accent_" + name] for name in "rgb"], dim=1)
        shown = shown + paint.accent[:, None] * (accent - color)
    shine = grain if paint.gloss is None else grain + paint.gloss
    return shown.mul_(tone[:, None]).add_(shine[:, None]).clamp_(0, 1)
