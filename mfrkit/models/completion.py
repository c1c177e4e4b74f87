"""What every completion generator is: masked faces and regions in, finished faces out.

A first guess is smooth: the colours around a hole, let flow into it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import ShapeError

_LEAST = 1e-6  # where nothing is seen, nothing is divided by nothing


def smooth_filling(faces: Tensor, hole: Tensor) -> Tensor:
    """Fill holes from coarser and coarser averages of the pixels that are seen.

    Paper:
        Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4: pull and push.

    Args:
        faces: (B, 3, H, W) float, RGB in [0, 1].
        hole: (B, 1, H, W) float in [0, 1]; what the faces show where it is 1 has no influence.

    Returns:
        (B, 3, H, W) float in [0, 1], the face itself where the hole is 0.

    Example:
        >>> import torch
        >>> faces = torch.tensor([[[[0.25, 0.9, 0.75]]]]).expand(1, 3, 1, 3)
        >>> smooth_filling(faces, torch.tensor([[[[0.0, 1.0, 0.0]]]]))[0, 0, 0].tolist()
        [0.25, 0.5, 0.75]
    """
    seen = 1 - hole
    return _fill(faces * seen, seen)


def _fill(colour: Tensor, seen: Tensor) -> Tensor:
    """Fill one level of the pyramid; `colour` is multiplied by how much of each pixel is seen."""
    if max(colour.shape[2:]) == 1:
        return colour / seen.clamp_min(_LEAST)
    # A pixel of the coarser level counts in full as soon as one of its four is seen.
    share = F.avg_pool2d(seen, 2, ceil_mode=True)
    weight = (4 * share).clamp_max(1)
    coarse = _fill(
        F.avg_pool2d(colour, 2, ceil_mode=True) * (weight / share.clamp_min(_LEAST)), weight
    )
    size = [colour.shape[2], colour.shape[3]]
    spread = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return colour + (1 - seen) * spread


class Descriptor(NamedTuple):
    """A feature map at which a generator can be left before it draws.

    Attributes:
        channels: of the map.
        side: of the map of a face of 112x112.
    """

    channels: int
    side: int


class Completion(nn.Module):
    """Fill the region of a face, and leave the rest of the picture as it is.

    A subclass draws whole pictures; only their part inside the hole is used. The hole is the region
    grown by a margin: where a mask's edge is soft its colour shines through, and a predicted edge
    may be a pixel off.

    Attributes:
        descriptors: its maps by name, in the order they are computed; the first is the usual one.

    Args:
        margin: pixels by which the region is grown.
        multiple: what the sides of a face must be a multiple of.
    """

    descriptors: Mapping[str, Descriptor]

    def __init__(self, margin: int, multiple: int) -> None:
        super().__init__()
        self.margin, self.multiple = margin, multiple

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the faces, from a first sketch to the final picture.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1].
            hole: (B, 1, H, W) float in [0, 1]; what the faces show where it is 1 has no influence.

        Returns:
            Pictures (B, 3, H, W) float32 in [0, 1], at least one.
        """
        raise NotImplementedError

    def encode(self, faces: Tensor, region: Tensor, descriptor: str = "") -> Tensor:
        """Return what the generator knows of masked faces before it draws.

        Args:
            faces: as for `forward`.
            region: as for `forward`.
            descriptor: one of `descriptors`; empty for the first.

        Returns:
            The feature map, (B, C, H', W') float.
        """
        raise NotImplementedError

    def cut(self, descriptor: str) -> None:
        """Let go of all that `encode` does not need up to a descriptor; nothing is drawn any more.

        Args:
            descriptor: one of `descriptors`.
        """
        raise NotImplementedError

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile what draws, as `nn.Module.compile`; training asks for it without the rest."""
        self.pictures = torch.compile(self.pictures, *args, **options)  # type: ignore[method-assign]

    def hole(self, region: Tensor) -> Tensor:
        """Return the (B, 1, H, W) region grown by the margin."""
        return grown(region, self.margin)

    def forward(self, faces: Tensor, region: Tensor) -> Tensor:
        """Complete masked faces.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1].
            region: (B, 1, H, W) float in [0, 1], 1 where the face is covered.

        Returns:
            (B, 3, H, W) float32 in [0, 1]; pixels farther than the margin from the region equal the
            input's exactly.

        Raises:
            ShapeError: the two do not fit together, or their sides the network.
        """
        self.check(faces, region)
        hole = self.hole(region)
        return composite(self.pictures(faces, hole)[-1], faces, hole)

    def check(self, faces: Tensor, region: Tensor) -> None:
        """Raise ShapeError unless these are faces and regions the network takes."""
        if faces.ndim != 4 or faces.shape[1] != 3 or not faces.is_floating_point():
            raise ShapeError(
                f"faces must be (B, 3, H, W) float, got {tuple(faces.shape)} {faces.dtype}"
            )
        wanted = (len(faces), 1, *faces.shape[2:])
        if tuple(region.shape) != wanted:
            raise ShapeError(f"the region must be {wanted}, got {tuple(region.shape)}")
        if any(side % self.multiple for side in faces.shape[2:]):
            raise ShapeError(
                f"sides must be multiples of {self.multiple}, got {tuple(faces.shape[2:])}"
            )


def grown(region: Tensor, margin: int) -> Tensor:
    """Grow regions (B, 1, H, W) by a margin, pixels, on all sides."""
    side = 2 * margin + 1
    # Rows, then columns: a square of pixels in two passes.
    rows = F.max_pool2d(region, (side, 1), 1, (margin, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, margin))


def composite(pictures: Tensor, faces: Tensor, hole: Tensor) -> Tensor:
    """Lay pictures into the holes of faces; exactly the face where the hole is 0.

    Example:
        >>> white, black = torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
        >>> composite(white, black, torch.tensor([[[[0.0, 0.25]]]]))[0, 0].tolist()
        [[0.0, 0.25]]
    """
    return torch.lerp(faces, pictures.to(faces.dtype), hole.expand_as(faces))
