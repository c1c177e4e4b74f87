"""What each kind's surface looks like: colour and relief as fields over the mask.

A painter is given the pixels and the outline's field, and returns factors on the cloth's colour and
a height map in face units; light, shadow and camera are the renderer's. Nothing here may call exp,
sin or pow on pixels (see `surface`).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mfrkit.masks.canvas import Canvas, Paint, bump, groove
from mfrkit.masks.outline import from_top, step
from mfrkit.masks.pattern import pattern


def drape(canvas: Canvas) -> Tensor:
    """Return the relief of the cloth over a face: the nose, the middle's bulge, wrinkles."""
    x, y, look = canvas.x, canvas.y, canvas.look
    over_nose = bump(y, 0.62, 0.55)
    nose = bump(x, 0.0, 0.42 - 0.1 * over_nose) * over_nose
    dome = (1 - (x * x * 1.3 + (y - 1.02) * (y - 1.02)) * 1.1).clamp(min=0)
    return nose * 0.09 + dome * look["bulge"] + canvas.waves * look["crease"]


def surgical(canvas: Canvas, edge: Tensor) -> Paint:
    """Pleats closed at the side seams, a wire in the upper edge, a sewn border all round."""
    x, y, look, pixel = canvas.x, canvas.y, canvas.look, canvas.pixel
    spacing = 0.78 / (look["pleats"] + 1)
    square = x * x
    # Each pleat hangs over the next: a long rise, then a drop that the light from above misses.
    turn = (y - square * 0.10) * (1 / spacing) - 0.70 / spacing
    inside = turn.clamp(min=0)
    inside = torch.minimum(inside, look["pleats"] + 1)
    turn = inside - inside.floor()
    fall = torch.clamp(pixel * 1.3 / spacing, min=0.14)
    tooth = torch.minimum(turn * (1 / (1 - fall)), (1 - turn) * (1 / fall))
    open_middle = (1.05 - square * 0.9).clamp(min=0)
    pleats = tooth * open_middle * look["pleat_depth"]

    wire = groove(from_top(look, x, y), 0.09, 0.035, pixel) * step(x.abs(), 0.5, 0.4)
    seam = groove(edge, 0.055, 0.018, pixel)
    height = drape(canvas) + pleats + wire * 0.012 - seam * 0.008
    return Paint(tone=1 + step(edge, 0.06, 0.045) * 0.04, height=height)


def cup(canvas: Canvas, edge: Tensor) -> Paint:
    """A stiff cup: a dome, an embossed rim, a metal clip over the nose."""
    x, y, look, pixel = canvas.x, canvas.y, canvas.look, canvas.pixel
    rim = groove(edge, 0.085, 0.02, pixel)
    stand = step(edge, 0.08, 0.16) * 0.03
    clip = bump(from_top(look, x, y), 0.15, 0.05) * step(x.abs(), 0.36, 0.32)
    tone = 1 - rim * 0.08 - clip.clamp(max=0.5) * 0.5
    return Paint(tone=tone, height=drape(canvas) + stand - rim * 0.006 + clip * 0.012)


def cloth(canvas: Canvas, edge: Tensor) -> Paint:
    """Sewn cloth: a hem, sometimes a centre seam, plain or with a printed or woven pattern."""
    x, look, pixel = canvas.x, canvas.look, canvas.pixel
    hem = groove(edge, 0.07, 0.018, pixel)
    seam = groove(x, 0.0, 0.014, pixel) * look["seam"]
    height = drape(canvas) - hem * 0.008 - seam * 0.012
    return Paint(tone=1 - seam * 0.06, height=height, accent=pattern(canvas))


def plain(canvas: Canvas, edge: Tensor) -> Paint:
    """Bare cloth or skin: only the relief of what is under it."""
    return Paint(tone=torch.ones_like(canvas.x), height=drape(canvas))


def skin(canvas: Canvas, edge: Tensor) -> Paint:
    """Fingers: round, and darker where they meet the face or each other."""
    rounded = step(edge, 0.0, 0.10)
    rounded = rounded * (2 - rounded)
    tone = step(edge, 0.0, 0.07) * 0.16 + 0.94
    return Paint(tone=tone, height=canvas.waves * canvas.look["crease"] + rounded * 0.05)


def folded(canvas: Canvas, edge: Tensor) -> Paint:
    """A flat-fold respirator: two halves meeting in a ridge, a welded rim, a nose clip."""
    x, y, look, pixel = canvas.x, canvas.y, canvas.look, canvas.pixel
    outward = (x * x + 0.0012).sqrt()
    ridge = outward * look["ridge"]
    weld = groove(edge, 0.07, 0.02, pixel) + groove(edge, 0.035, 0.014, pixel)
    fold = groove(x, 0.0, 0.02, pixel)
    clip = bump(from_top(look, x, y), 0.12, 0.045) * step(x.abs(), 0.34, 0.30)
    height = drape(canvas) - ridge - weld * 0.004 + clip * 0.01
    return Paint(tone=1 - weld * 0.05 + fold * 0.03 - clip * 0.06, height=height)


def valve(canvas: Canvas, edge: Tensor) -> Paint:
    """A cup with a plastic valve: a raised disc, slots in it, a highlight on its rim."""
    base = cup(canvas, edge)
    right, down = canvas.x - 0.02, canvas.y - 1.16
    radius = (right * right + down * down).sqrt()
    disc = step(radius, 0.20, 0.17)
    slots = bump(down - (down * 11).floor() * (1 / 11) - 0.045, 0.0, 0.025)
    slots = slots * step(radius, 0.14, 0.12)
    rim = bump(radius, 0.17, 0.03)
    tone = base.tone * (1 - disc * 0.06 - slots * 0.35)
    gloss = rim * step(down, 0.02, -0.12) * 0.12
    return Paint(tone=tone, height=base.height + disc * 0.03 + rim * 0.015, gloss=gloss)


def sponge(canvas: Canvas, edge: Tensor) -> Paint:
    """Moulded foam: smooth, no hem, the two halves sewn together down the middle."""
    x = canvas.x
    ridge = (x * x + 0.01).sqrt() * canvas.look["ridge"]
    seam = groove(x, 0.0, 0.02, canvas.pixel) * step(canvas.y, 0.3, 0.5)
    height = drape(canvas) - ridge - seam * 0.006 + step(edge, 0.0, 0.05) * 0.02
    return Paint(tone=1 - seam * 0.08, height=height)


def window(canvas: Canvas, edge: Tensor) -> Paint:
    """Cloth round a clear pane over the mouth, with a slanting reflection."""
    base = cloth(canvas, edge)
    tall, across = 0.30 - (canvas.y - 1.05).abs(), 0.52 - canvas.x.abs()
    inside = torch.minimum(torch.minimum(tall, across), (tall + across) * 0.7 - 0.05)
    pane = step(inside, 0.0, 0.03)
    frame = groove(inside, 0.0, 0.03, canvas.pixel)
    glare = bump(canvas.x + canvas.y * 0.6, 0.42, 0.14) + bump(
        canvas.x + canvas.y * 0.6, 0.78, 0.05
    )
    glare = (glare * 0.5 + 0.08) * pane
    opacity = 1 - pane * (0.94 - glare * 0.6)
    # What little of the pane is opaque is its reflection, not its cloth.
    tone = base.tone * (1 - pane * 0.4)
    return Paint(tone, base.height + frame * 0.01, base.accent, opacity, glare * 0.7)


def hanging(canvas: Canvas, edge: Tensor) -> Paint:
    """Loose cloth: folds that run down and inwards from the cheeks, no hem to speak of."""
    x, y = canvas.x.abs(), canvas.y
    lines = (x * 0.8 + y * 0.55) * 4 + canvas.look["crease_u"] + canvas.waves * 0.25
    wave = (lines - lines.floor() - 0.5).abs()
    folds = wave * wave * step(x, 0.1, 0.6) * canvas.look["crease"]
    roll = groove(edge, 0.05, 0.05, canvas.pixel) * 0.012
    tone = torch.ones_like(x)
    return Paint(tone=tone, height=drape(canvas) + folds + roll, accent=pattern(canvas))


def printed(canvas: Canvas, edge: Tensor) -> Paint:
    """The user's own picture, over the relief of the face."""
    tone = torch.ones_like(canvas.x)
    if canvas.template is None:
        return Paint(tone=tone, height=drape(canvas))
    picture = canvas.template.read(canvas.look, canvas.x, canvas.y, slice(0, 3))
    solid = canvas.template.read(canvas.look, canvas.x, canvas.y, slice(4, 5))[:, 0]
    return Paint(tone=tone, height=drape(canvas), opacity=solid, own=picture)


Painter = Callable[[Canvas, Tensor], Paint]
PAINTERS: Mapping[str, Painter] = MappingProxyType(
    {
        "plain": plain,
        "surgical": surgical,
        "cup": cup,
        "skin": skin,
        "folded": folded,
        "valve": valve,
        "cloth": cloth,
        "sponge": sponge,
        "window": window,
        "hanging": hanging,
        "printed": printed,
    }
)
