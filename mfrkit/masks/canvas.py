"""What masks are painted with: numbers of each face, pixels, hills, and noise.

Wrinkles, prints and camera grain come from one set of tiles, made once from a constant seed; a
face differs by where in them it lies. Looking noise up needs no random state on the device and
gives the same values everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.masks.pose import Array

Fields = Mapping[str, Tensor]


@dataclass(frozen=True)
class Columns:
    """The columns of a batch, sent to the device in one copy: C names, and (C, B) float32."""

    names: tuple[str, ...]
    table: Tensor

    @classmethod
    def send(cls, columns: Mapping[str, Array], device: torch.device) -> "Columns":
        """Send float64 columns (B,) to the device."""
        table = torch.as_tensor(np.stack(list(columns.values())), dtype=torch.float32)
        return cls(tuple(columns), table.to(device))

    def part(self, faces: slice) -> Fields:
        """Return the columns of b of the batch's faces, each (b, 1, 1) float32."""
        planes = self.table[:, faces, None, None].unbind()
        return dict(zip(self.names, planes, strict=True))


class Printed(Protocol):
    """Pictures of masks that lie on faces."""

    def read(self, look: Fields, x: Tensor, y: Tensor, planes: slice) -> Tensor:
        """Read planes at places; see `mfrkit.masks.template.Template.read`."""


def color(look: Fields, name: str) -> Tensor:
    """Return a colour from its three columns, (b, 3, 1, 1)."""
    return torch.stack([look[f"{name}_{channel}"] for channel in "rgb"], dim=1)


GRAIN_SIZE = 256
_SOFT_SIZE = 128


class NoiseTiles(nn.Module):
    """Periodic noise tiles as buffers, so that they follow the renderer to its device."""

    grain: Tensor
    soft: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = np.random.Generator(np.random.PCG64(20240229))
        # Sums of uniforms: bell-shaped, and made of exactly rounded operations only.
        grain = generator.random((12, GRAIN_SIZE, GRAIN_SIZE)).sum(0) - 6
        grain = (grain + _blur(grain, 1)) / 1.35  # demosaicing and JPEG leave it slightly soft
        soft = _blur(generator.random((_SOFT_SIZE, _SOFT_SIZE)) - 0.5, 6)
        soft = soft / np.sqrt((soft**2).mean())
        twice = torch.tensor(grain, dtype=torch.float32).repeat(2, 2)  # any start, one slice
        self.register_buffer("grain", twice, persistent=False)
        smooth = torch.tensor(soft, dtype=torch.float32)[None, None]
        self.register_buffer("soft", smooth, persistent=False)

    def camera(self, starts: Sequence[tuple[int, int]], rows: slice, columns: slice) -> Tensor:
        """Return unit-variance grain of a box, (B, H, W) float32.

        Args:
            starts: Row and column, from 0 to 255, at which each of B pictures lies in the tile.
            rows: Pixel rows of the box.
            columns: Pixel columns.
        """
        height, width = rows.stop - rows.start, columns.stop - columns.start
        tile = self.grain
        if max(height, width) > GRAIN_SIZE:
            tile = tile[:GRAIN_SIZE, :GRAIN_SIZE].repeat(
                height // GRAIN_SIZE + 2, width // GRAIN_SIZE + 2
            )
        views = []
        for row, column in starts:
            top, left = (row + rows.start) % GRAIN_SIZE, (column + columns.start) % GRAIN_SIZE
            views.append(tile[top : top + height, left : left + width])
        return torch.stack(views)

    def wrinkles(self, u: Tensor, v: Tensor, start_u: Tensor, start_v: Tensor) -> Tensor:
        """Return unit-variance waves, longer across the face than down it.

        Args:
            u: (B, H, W) face units across.
            v: (B, H, W), down.
            start_u: (B, 1, 1) in [0, 1), where in the tile the face lies.
            start_v: (B, 1, 1).
        """
        # Small factors keep the face within the tile wherever it starts: nothing to wrap.
        places = u.new_empty(len(u), 2, *u.shape[1:])
        torch.mul(u, 0.16, out=places[:, 0]).add_(start_u * 0.8 - 0.4)
        torch.mul(v, 0.30, out=places[:, 1]).add_(start_v * 0.8 - 0.7)
        return self._look_up(places)

    def blotches(self, u: Tensor, v: Tensor) -> Tensor:
        """Return unit-variance blobs about one unit of u and v apart, (B, H, W)."""
        u, v = u * 0.035, v * 0.035
        return self._look_up(torch.stack([u - u.floor(), v - v.floor()], dim=1).mul_(2).sub_(1))

    def _look_up(self, places: Tensor) -> Tensor:
        """Read the soft tile at (B, 2, H, W); its ends are -1 and 1, beyond them it goes on."""
        tile = self.soft.expand(len(places), -1, -1, -1)
        # A view is all it takes: putting x and y side by side in memory costs as much as reading.
        grid = places.permute(0, 2, 3, 1)
        return F.grid_sample(tile, grid, padding_mode="border", align_corners=False)[:, 0]


def _blur(field: Array, times: int) -> Array:
    """Smooth a periodic field by a 1-2-1 kernel both ways, `times` over."""
    for _ in range(times):
        for axis in (0, 1):
            field = (np.roll(field, 1, axis) + 2 * field + np.roll(field, -1, axis)) / 4
    return field


Box = tuple[slice, slice, slice]  # faces, rows, columns


@dataclass(frozen=True)
class Canvas:
    """The pixels of b faces that wear one kind of mask.

    Attributes:
        x, y: (b, h, w) in the mask's frame, face units.
        square: (b, h, w), x * x.
        sine: (b, h, w) of the angle round the head.
        limb: (b, h, w) distance inside the head's silhouette.
        head_x, head_y: (b, h, w) on the head, however the mask sits.
        waves: (b, h, w) unit-variance smooth noise, this mask's wrinkles.
        pixel: (b, 1, 1) width of a sharp edge in this photo, face units: a pixel or more.
        look: Per-face columns, each (b, 1, 1).
        texture: Texture name of each face.
        tiles: Noise to draw prints from.
        template: The user's own masks, where the kind is made of them.
    """

    x: Tensor
    y: Tensor
    square: Tensor
    sine: Tensor
    limb: Tensor
    head_x: Tensor
    head_y: Tensor
    waves: Tensor
    pixel: Tensor
    look: Fields
    texture: tuple[str, ...]
    tiles: NoiseTiles
    template: Printed | None

    def crop(self, box: Box) -> "Canvas":
        """Return the pixels of a box of all faces, rows and columns."""
        names = ("x", "y", "square", "sine", "limb", "head_x", "head_y", "waves")
        return replace(self, **{name: getattr(self, name)[box].contiguous() for name in names})


@dataclass(frozen=True)
class Paint:
    """A painted surface.

    Attributes:
        tone: (b, h, w) factor on the colour, or None for an even one.
        height: (b, h, w) relief in face units.
        accent: (b, h, w) share of the second colour, or None for a plain cloth.
        opacity: (b, h, w) in [0, 1], or None for opaque.
        gloss: (b, h, w) brightness of reflections, or None for matt.
        own: (b, 3, h, w) RGB of a picture in place of the cloth's colour; or None.
    """

    tone: Tensor | None
    height: Tensor
    accent: Tensor | None = None
    opacity: Tensor | None = None
    gloss: Tensor | None = None
    own: Tensor | None = None


def bump(x: Tensor, center: float, radius: Tensor | float) -> Tensor:
    """Return a hill of height 1 that is 0 beyond `radius`, smooth."""
    t = (x - center).mul_(1 / radius) if center else x * (1 / radius)
    t = t.mul_(t).sub_(1).clamp_(max=0)
    return t.mul_(t)


def groove(field: Tensor, at: float, radius: float, pixel: Tensor) -> Tensor:
    """Return a hill along a level line of a field, never narrower than a pixel and a half."""
    return bump(field, at, torch.clamp(pixel * 1.5, min=radius))
