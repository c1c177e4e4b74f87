"""From a painted surface to pixels: edge, contact shadow, light, colour and camera grain."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mfrkit.faces.mask_kinds import KINDS
from mfrkit.faces.mask_noise import NoiseTiles
from mfrkit.faces.mask_outline import Fields, cord, distance, ramp, slope, step, worn
from mfrkit.faces.mask_paint import PAINTERS, Canvas, Paint
from mfrkit.faces.mask_shapes import OUTLINES
from mfrkit.faces.mask_spec import MaskSpec
from mfrkit.faces.mask_surface import Sheet, pixel_axes, pixels_to_sheet

TOP = 0.0  # nothing is drawn above this height, face units
SHADOW_REACH = 0.10  # how far outside the edge the contact shadow ends, along the sheet
_THICKNESS = 0.035  # how far the mask stands out from the head at the silhouette
_STITCH_WHITE = 0.86


@dataclass(frozen=True)
class Layer:
    """What is laid over b faces.

    Attributes:
        alpha: (b, h, w) in [0, 1], how much of each pixel is covered.
        shade: (b, h, w) in [0, 1], factor on the uncovered picture.
        color: (b, 3, h, w) RGB in [0, 1].
    """

    alpha: Tensor
    shade: Tensor
    color: Tensor


def draw_layer(
    specs: Sequence[MaskSpec], look: Fields, tiles: NoiseTiles, rows: slice, columns: slice
) -> Layer:
    """Draw the masks of b faces that wear the same kind.

    Args:
        specs: Their specs, all of one kind.
        look: All per-face columns, each (b, 1, 1) float32.
        tiles: The renderer's noise.
        rows: Pixel rows to draw, at least 2.
        columns: Pixel columns, at least 2.

    Returns:
        The layer over those pixels.
    """
    sheet = pixels_to_sheet(look, *pixel_axes(rows, columns, look["unit"].device))
    x, y = worn(look, sheet.x, sheet.y)
    # Length along the cloth from the mid-line: the arc sine's first terms, times the radius.
    square = (sheet.sine * sheet.sine).clamp(max=1)
    arc = x * (square * (square * 0.075 + 0.1667) + 1)
    waves = tiles.wrinkles(arc, y, look["crease_u"], look["crease_v"])
    kind = KINDS[specs[0].kind]
    edge = OUTLINES[kind.shape.outline](look, x, y, kind.shape.corner) + waves * look["slack"]
    if kind.shape.cut != "none":
        edge = torch.minimum(edge, _limit(sheet, hangs=kind.shape.cut == "jaw"))
    textures = tuple(spec.texture for spec in specs)
    canvas = Canvas(x, y, arc, edge, waves, look["unit"], look, textures, tiles)
    paint = PAINTERS[kind.paint](canvas)
    apart = distance(edge)  # pixels; wrong where the silhouette squeezes the field
    alpha, thread = _cover(look, canvas, sheet, apart)
    if paint.opacity is not None:
        alpha = alpha * paint.opacity
    tone = paint.tone * _lit(look, sheet, paint.height)
    starts = [(spec.grain_row, spec.grain_column) for spec in specs]
    grain = tiles.camera(starts, rows, columns) * look["grain"]
    return Layer(
        alpha,
        _shadow(look, sheet, torch.minimum(edge, apart * look["unit"])),
        _color(look, tone, paint, thread, grain),
    )


def _limit(sheet: Sheet, *, hangs: bool) -> Tensor:
    """Return the field inside which a mask lies against the head, or hangs clear of it below."""
    limit = sheet.limb + _THICKNESS
    if hangs:
        limit = limit + step(sheet.y, 1.1, 1.9)
    return torch.minimum(limit, sheet.y - TOP)


def _cover(look: Fields, canvas: Canvas, sheet: Sheet, apart: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much of each pixel is covered, and how much of it by a cord alone."""
    cloth = (apart / (look["soft"] / look["unit"] + 1) + 0.5).clamp(0, 1)
    outside = canvas.x.abs()
    near = torch.maximum(
        cord(look, outside, canvas.y, "upper"), cord(look, outside, canvas.y, "lower")
    )
    near = torch.minimum(near, torch.minimum(sheet.limb, sheet.y - TOP))
    thread = (near / look["unit"] + 0.5).clamp(0, 1)
    return torch.maximum(cloth, thread), (thread - cloth).clamp(min=0)


def _shadow(look: Fields, sheet: Sheet, edge: Tensor) -> Tensor:
    """Return the factor that darkens skin beside the mask, more below it than above."""
    close = ramp(edge, -SHADOW_REACH, 0.0)
    close = close * close
    skin = step(sheet.limb, -0.02, 0.06)
    below = step(sheet.y, 0.5, 1.5) * 0.6 + 0.4
    return 1 - close * skin * below * look["shadow"]


def _lit(look: Fields, sheet: Sheet, height: Tensor) -> Tensor:
    """Return brightness: the face's own light, the relief under it, and turning away from it."""
    x, y = sheet.x.clamp(-1.2, 1.2), sheet.y - 0.8
    gain = look["gain"] + x * (look["gain_x"] + x * look["gain_xx"]) + y * look["gain_y"]
    right, down = slope(height)
    steep = look["relief"] / look["unit"]
    relief = 1 - right * (look["light_x"] * steep) - down * (look["light_y"] * steep)
    away = 1 - sheet.sine * sheet.sine * look["round"]
    under = 1 - ramp(sheet.y, 1.45, 2.0) * look["under"]
    return gain * relief.clamp(0.5, 1.4) * away * under


def _color(look: Fields, tone: Tensor, paint: Paint, thread: Tensor, grain: Tensor) -> Tensor:
    """Return the lit colour with the camera's grain, (b, 3, h, w)."""
    color = torch.stack([look["color_" + name] for name in "rgb"], dim=1)  # (b, 3, 1, 1)
    shown = color + thread[:, None] * ((_STITCH_WHITE - color) * look["cord_white"][:, None])
    if paint.accent is not None:
        accent = torch.stack([look["accent_" + name] for name in "rgb"], dim=1)
        shown = shown + paint.accent[:, None] * (accent - color)
    shine = grain if paint.gloss is None else grain + paint.gloss
    return (shown * tone[:, None] + shine[:, None]).clamp(0, 1)
