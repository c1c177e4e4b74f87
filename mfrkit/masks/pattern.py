"""Patterns on cloth: the share of the accent colour, as fields over the mask.

Edges are about a pixel wide at every size. Nothing here may call exp, sin or pow on pixels (see
`surface`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from mfrkit.masks.canvas import Canvas
from mfrkit.masks.noise import NoiseTiles
from mfrkit.masks.outline import step


@dataclass(frozen=True)
class Weave:
    """Where the pixels of n faces lie in their texture.

    Attributes:
        u, v: (n, h, w) along and across the weave, in repeats.
        x, y: (n, h, w) in the mask's frame, face units.
        blur: (n, 1, 1) width of an edge, in repeats.
        tiles: Noise.
    """

    u: Tensor
    v: Tensor
    x: Tensor
    y: Tensor
    blur: Tensor
    tiles: NoiseTiles


def pattern(canvas: Canvas) -> Tensor | None:
    """Return the share of the accent colour on each face as its texture says.

    Args:
        canvas: The faces.

    Returns:
        (b, h, w) in [0, 1]; None if all are plain.
    """
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


PATTERNS: Mapping[str, Callable[[Weave], Tensor]] = MappingProxyType(
    {"stripes": _stripes, "check": _check, "dots": _dots, "print": _print, "lips": _lips}
)
