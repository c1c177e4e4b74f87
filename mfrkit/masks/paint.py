"""What each kind's surface looks like: colour, pattern and relief as fields over the mask.

A painter is given the pixels and the outline's field, and returns factors on the cloth's colour
and a height map in face units; light, shadow and camera are the renderer's. A pattern is the
share of the accent colour, its edges about a pixel wide at every size. Nothing here may call exp,
sin or pow on pixels (see `head`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mfrkit.masks.canvas import Canvas, NoiseTiles, Paint, bump, groove
from mfrkit.masks.outline import from_top, step


@dataclass(frozen=True)
class Weave:
    """Where the pixels of n faces lie in their texture.

    Attributes:
        u, v: (n, h, w) along and across the weave, in repeats.
        x, y: (n, h, w) in the mask's frame, face units.
        blur: (n, 1, 1) width of an edge, in repeats.
    """

    u: Tensor
    v: Tensor
    x: Tensor
    y: Tensor
    blur: Tensor
    tiles: NoiseTiles


def pattern(canvas: Canvas) -> Tensor | None:
    """Return (b, h, w) in [0, 1], the share of the accent colour; None if all are plain."""
    names = sorted(set(canvas.texture) - {"plain"})
    if not names:
        return None
    look = canvas.look
    # Length along the cloth from the mid-line: the arc sine's first terms, times the radius.
    square = (canvas.sine * canvas.sine).clamp_(max=1)
    arc = (square * 0.075).add_(0.1667).mul_(square).add_(1).mul_(canvas.x)
    scale = 1 / (look["texture_scale"] * 0.16)
    along, across = look["turn_cos"] * scale, look["turn_sin"] * scale
    u = (arc * along).addcmul_(canvas.y, across).add_(look["texture_u"])
    v = (canvas.y * along).addcmul_(arc, across, value=-1).add_(look["texture_v"])
    blur = torch.clamp(canvas.pixel * scale, min=0.04)
    share = torch.zeros_like(u)
    for name in names:
        on = [i for i, texture in enumerate(canvas.texture) if texture == name]
        weave = Weave(u[on], v[on], canvas.x[on], canvas.y[on], blur[on], canvas.tiles)
        share[on] = PATTERNS[name](weave)
    return share


def _bars(t: Tensor, blur: Tensor) -> Tensor:
    """Return bars of period 1, half on."""
    wave = 0.25 - (t - t.floor() - 0.5).abs()
    return (wave / blur + 0.5).clamp(0, 1)


def _stripes(weave: Weave) -> Tensor:
    return _bars(weave.v, weave.blur)


def _check(weave: Weave) -> Tensor:
    return (_bars(weave.u, weave.blur) + _bars(weave.v, weave.blur)) * 0.5


def _dots(weave: Weave) -> Tensor:
    """Return discs on a lattice whose odd rows are shifted by half a step."""
    row = weave.v.floor()
    half = row * 0.5
    across = weave.u + (half - half.floor())
    across, down = across - across.floor() - 0.5, weave.v - row - 0.5
    return ((0.27 - (across * across + down * down).sqrt()) / weave.blur + 0.5).clamp(0, 1)


def _print(weave: Weave) -> Tensor:
    """Return blotches, as of a floral or camouflage print."""
    return (weave.tiles.blotches(weave.u, weave.v) * 0.6 / weave.blur + 0.5).clamp(0, 1)


def _lips(weave: Weave) -> Tensor:
    """Return a printed mouth and nostrils where the real ones are."""
    x, down = weave.x.abs(), weave.y - 1.02
    lips = 0.15 - x * x * 0.75 - (down - x * x * 0.2).abs()
    parting = step(down.abs(), 0.012, 0.03)
    nostrils = 0.055 - (x - 0.12).abs() - (weave.y - 0.66).abs()
    return (lips * 14).clamp(0, 1) * parting + (nostrils * 14).clamp(0, 1)


PATTERNS: Mapping[str, Callable[[Weave], Tensor]] = {
    "stripes": _stripes,
    "check": _check,
    "dots": _dots,
    "print": _print,
    "lips": _lips,
}


def drape(canvas: Canvas) -> Tensor:
    """Return the relief of the cloth over a face: the nose, the middle's bulge, wrinkles."""
    y, look = canvas.y, canvas.look
    relief = bump(canvas.x, 0.0, 0.36).mul_(0.09).mul_(bump(y, 0.62, 0.55))
    dome = (y - 1.02).mul_(1.05)
    dome = (canvas.square * 1.43).addcmul_(dome, dome).sub_(1).clamp_(max=0)
    relief.addcmul_(dome, look["bulge"], value=-1)
    return relief.addcmul_(canvas.waves, look["crease"])


def surgical(canvas: Canvas, edge: Tensor) -> Paint:
    """Pleats closed at the side seams, a wire in the upper edge, a sewn border all round."""
    look, pixel, square = canvas.look, canvas.pixel, canvas.square
    spacing = 0.78 / (look["pleats"] + 1)
    # Each pleat hangs over the next: a long rise, then a drop that the light from above misses.
    turn = (canvas.y - square * 0.10).mul_(1 / spacing).sub_(0.70 / spacing).clamp_(min=0)
    turn = torch.minimum(turn, look["pleats"] + 1)
    turn.sub_(turn.floor())
    fall = torch.clamp(pixel * 1.3 / spacing, min=0.14)
    tooth = torch.minimum(turn * (1 / (1 - fall)), turn.sub_(1).mul_(-1 / fall))
    open_middle = (square * -0.9).add_(1.05).clamp_(min=0).mul_(look["pleat_depth"])

    height = drape(canvas).addcmul_(tooth, open_middle)
    wire = groove(from_top(look, square, canvas.y), 0.09, 0.035, pixel)
    height.addcmul_(wire, (square * -11).add_(2.75).clamp_(0, 1), value=0.012)
    height.sub_(groove(edge, 0.055, 0.018, pixel).mul_(0.008))
    border = (edge * (-0.04 / 0.015)).add_(1.16).clamp_(1, 1.04)
    return Paint(tone=border, height=height)


def cup(canvas: Canvas, edge: Tensor) -> Paint:
    """A stiff cup: a dome, an embossed rim, a metal clip over the nose."""
    rim = groove(edge, 0.085, 0.02, canvas.pixel)
    clip = bump(from_top(canvas.look, canvas.square, canvas.y), 0.15, 0.05)
    clip.mul_(step(canvas.x.abs(), 0.36, 0.32))
    height = drape(canvas).add_(step(edge, 0.08, 0.16).mul_(0.03))
    height.sub_(rim * 0.006).add_(clip * 0.012)
    tone = rim.mul_(-0.08).sub_(clip.clamp_(max=0.5).mul_(0.5)).add_(1)
    return Paint(tone=tone, height=height)


def cloth(canvas: Canvas, edge: Tensor) -> Paint:
    """Sewn cloth: a hem, sometimes a centre seam, plain or with a printed or woven pattern."""
    hem = groove(edge, 0.07, 0.018, canvas.pixel)
    seam = groove(canvas.x, 0.0, 0.014, canvas.pixel).mul_(canvas.look["seam"])
    height = drape(canvas).sub_(hem.mul_(0.008)).sub_(seam * 0.012)
    return Paint(tone=seam.mul_(-0.06).add_(1), height=height, accent=pattern(canvas))


def plain(canvas: Canvas, edge: Tensor) -> Paint:
    """Bare cloth or skin: only the relief of what is under it."""
    return Paint(tone=None, height=drape(canvas))


def skin(canvas: Canvas, edge: Tensor) -> Paint:
    """Fingers: round, and darker where they meet the face or each other."""
    rounded = step(edge, 0.0, 0.10)
    rounded = rounded * (2 - rounded)
    tone = step(edge, 0.0, 0.07) * 0.16 + 0.94
    height = (rounded * 0.05).addcmul_(canvas.waves, canvas.look["crease"])
    return Paint(tone=tone, height=height)


def folded(canvas: Canvas, edge: Tensor) -> Paint:
    """A flat-fold respirator: two halves meeting in a ridge, a welded rim, a nose clip."""
    look, pixel, square = canvas.look, canvas.pixel, canvas.square
    ridge = (square + 0.0012).sqrt_()
    weld = groove(edge, 0.07, 0.02, pixel).add_(groove(edge, 0.035, 0.014, pixel))
    fold = groove(canvas.x, 0.0, 0.02, pixel)
    clip = bump(from_top(look, square, canvas.y), 0.12, 0.045)
    clip.mul_(step(canvas.x.abs(), 0.34, 0.30))
    height = drape(canvas).addcmul_(ridge, look["ridge"], value=-1)
    height.sub_(weld * 0.004).add_(clip * 0.01)
    tone = fold.mul_(0.03).sub_(weld.mul_(0.05)).sub_(clip.mul_(0.06)).add_(1)
    return Paint(tone=tone, height=height)


def valve(canvas: Canvas, edge: Tensor) -> Paint:
    """A cup with a plastic valve: a raised disc, slots in it, a highlight on its rim."""
    base = cup(canvas, edge)
    right, down = canvas.x - 0.02, canvas.y - 1.16
    radius = (right * right + down * down).sqrt()
    disc = step(radius, 0.20, 0.17)
    slots = bump(down - (down * 11).floor() * (1 / 11) - 0.045, 0.0, 0.025)
    slots = slots * step(radius, 0.14, 0.12)
    rim = bump(radius, 0.17, 0.03)
    shade = 1 - disc * 0.06 - slots * 0.35
    tone = shade if base.tone is None else base.tone * shade
    gloss = rim * step(down, 0.02, -0.12) * 0.12
    return Paint(tone=tone, height=base.height + disc * 0.03 + rim * 0.015, gloss=gloss)


def sponge(canvas: Canvas, edge: Tensor) -> Paint:
    """Moulded foam: smooth, no hem, the two halves sewn together down the middle."""
    ridge = (canvas.square + 0.01).sqrt_()
    seam = groove(canvas.x, 0.0, 0.02, canvas.pixel).mul_(step(canvas.y, 0.3, 0.5))
    height = drape(canvas).addcmul_(ridge, canvas.look["ridge"], value=-1).sub_(seam * 0.006)
    height.add_(step(edge, 0.0, 0.05).mul_(0.02))
    return Paint(tone=seam.mul_(-0.08).add_(1), height=height)


def window(canvas: Canvas, edge: Tensor) -> Paint:
    """Cloth round a clear pane over the mouth, with a slanting reflection."""
    base = cloth(canvas, edge)
    tall, across = 0.30 - (canvas.y - 1.05).abs(), 0.52 - canvas.x.abs()
    inside = torch.minimum(torch.minimum(tall, across), (tall + across) * 0.7 - 0.05)
    pane = step(inside, 0.0, 0.03)
    frame = groove(inside, 0.0, 0.03, canvas.pixel)
    slanting = canvas.x + canvas.y * 0.6
    glare = bump(slanting, 0.42, 0.14) + bump(slanting, 0.78, 0.05)
    glare = (glare * 0.5 + 0.08) * pane
    opacity = 1 - pane * (0.94 - glare * 0.6)
    # What little of the pane is opaque is its reflection, not its cloth.
    shade = 1 - pane * 0.4
    tone = shade if base.tone is None else base.tone * shade
    return Paint(tone, base.height + frame * 0.01, base.accent, opacity, glare * 0.7)


def hanging(canvas: Canvas, edge: Tensor) -> Paint:
    """Loose cloth: folds that run down and inwards from the cheeks, no hem to speak of."""
    x, look = canvas.x.abs(), canvas.look
    lines = (x * 3.2).add_(canvas.y * 2.2).add_(canvas.waves * 0.25).add_(look["crease_u"])
    wave = lines.sub_(lines.floor()).sub_(0.5)
    folds = wave.mul_(wave).mul_(step(x, 0.1, 0.6))
    height = drape(canvas).addcmul_(folds, look["crease"])
    height.add_(groove(edge, 0.05, 0.05, canvas.pixel).mul_(0.012))
    return Paint(tone=None, height=height, accent=pattern(canvas))


def printed(canvas: Canvas, edge: Tensor) -> Paint:
    """The user's own picture, over the relief of the face."""
    if canvas.template is None:
        return plain(canvas, edge)
    picture = canvas.template.read(canvas.look, canvas.x, canvas.y, slice(0, 3))
    solid = canvas.template.read(canvas.look, canvas.x, canvas.y, slice(4, 5))[:, 0]
    return Paint(tone=None, height=drape(canvas), opacity=solid, own=picture)


def photographed(canvas: Canvas, edge: Tensor) -> Paint:
    """A mask out of a photo, which has its relief already."""
    if canvas.template is None:
        return plain(canvas, edge)
    picture = canvas.template.read(canvas.look, canvas.x, canvas.y, slice(0, 3))
    return Paint(tone=None, height=canvas.waves, own=picture)


Painter = Callable[[Canvas, Tensor], Paint]
PAINTERS: Mapping[str, Painter] = {
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
    "photographed": photographed,
}
