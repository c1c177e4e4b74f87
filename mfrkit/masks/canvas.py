"""What a painter is given and what it gives back, and the hills reliefs are made of."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mfrkit.masks.fields import Fields, Printed
from mfrkit.masks.noise import NoiseTiles

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
