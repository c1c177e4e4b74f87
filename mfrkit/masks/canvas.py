"""What a painter is given and what it gives back, and the hills reliefs are made of."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mfrkit.masks.noise import NoiseTiles
from mfrkit.masks.outline import Fields
from mfrkit.masks.template import Template


@dataclass(frozen=True)
class Canvas:
    """The pixels of b faces as seen by a painter.

    Attributes:
        x, y: (b, h, w) in the mask's frame, face units.
        arc: (b, h, w) distance from the mid-line along the cloth, signed.
        limb: (b, h, w) distance inside the head's silhouette.
        waves: (b, h, w) unit-variance smooth noise, this mask's wrinkles.
        pixel: (b, 1, 1) width of a sharp edge in this photo, face units: a pixel or more.
        look: Per-face columns, each (b, 1, 1).
        texture: Texture name of each face.
        tiles: Noise to draw prints from.
        template: The user's own mask, if there is one.
    """

    x: Tensor
    y: Tensor
    arc: Tensor
    limb: Tensor
    waves: Tensor
    pixel: Tensor
    look: Fields
    texture: tuple[str, ...]
    tiles: NoiseTiles
    template: Template | None

    def part(self, faces: slice, look: Fields) -> "Canvas":
        """Return the pixels of some of the faces, given their share of the columns."""
        return replace(
            self,
            x=self.x[faces],
            y=self.y[faces],
            arc=self.arc[faces],
            limb=self.limb[faces],
            waves=self.waves[faces],
            pixel=self.pixel[faces],
            look=look,
            texture=self.texture[faces],
        )

    def crop(self, box: tuple[slice, slice, slice]) -> "Canvas":
        """Return the pixels of a box of all faces, rows and columns."""
        names = ("x", "y", "arc", "limb", "waves")
        return replace(self, **{name: getattr(self, name)[box] for name in names})


@dataclass(frozen=True)
class Paint:
    """A painted surface.

    Attributes:
        tone: (b, h, w) factor on the colour.
        height: (b, h, w) relief in face units.
        accent: (b, h, w) share of the second colour, or None for a plain cloth.
        opacity: (b, h, w) in [0, 1], or None for opaque.
        gloss: (b, h, w) brightness of reflections, or None for matt.
        own: (b, 3, h, w) RGB of a picture in place of the cloth's colour, negative where there is
            none; or None.
    """

    tone: Tensor
    height: Tensor
    accent: Tensor | None = None
    opacity: Tensor | None = None
    gloss: Tensor | None = None
    own: Tensor | None = None


def join(paints: list[Paint]) -> Paint:
    """Return the surfaces of several groups of faces as one, in order."""
    if len(paints) == 1:
        return paints[0]

    def together(name: str, missing: float) -> Tensor | None:
        planes = [getattr(paint, name) for paint in paints]
        if all(plane is None for plane in planes):
            return None
        return torch.cat(
            [
                _blank(paint, name, missing) if plane is None else plane
                for paint, plane in zip(paints, planes, strict=True)
            ]
        )

    return Paint(
        tone=torch.cat([paint.tone for paint in paints]),
        height=torch.cat([paint.height for paint in paints]),
        accent=together("accent", 0.0),
        opacity=together("opacity", 1.0),
        gloss=together("gloss", 0.0),
        own=together("own", -1.0),
    )


def _blank(paint: Paint, name: str, value: float) -> Tensor:
    """Return what stands for a plane that a painter left out."""
    plane = torch.full_like(paint.tone, value)
    return plane[:, None].expand(-1, 3, -1, -1) if name == "own" else plane


def bump(x: Tensor, center: Tensor | float, radius: Tensor | float) -> Tensor:
    """Return a hill of height 1 that is 0 beyond `radius`, smooth."""
    t = (x - center).div_(radius)
    t = t.mul_(t).neg_().add_(1).clamp_(min=0)
    return t.mul_(t)


def groove(field: Tensor, at: float, radius: float, pixel: Tensor) -> Tensor:
    """Return a hill along a level line of a field, never narrower than a pixel and a half."""
    return bump(field, at, torch.clamp(pixel * 1.5, min=radius))
