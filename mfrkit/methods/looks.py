"""What the mesh network is shown in training: squares cut out of wide crops, and the way back.

A wide crop has 224 pixels a side with the plain 112-pixel crop in its middle, as `mfrkit align
--size 224 --margin 0.5` makes it: enough for the region round a face and for a detector's errors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from kornia.geometry.transform import warp_affine
from torch import Tensor

from mfrkit.faces.geometry import place_in_crop
from mfrkit.faces.mesh import EYES, MESH_SIDES, SIDE, mesh_region

WIDE, WIDE_MARGIN = 224, 0.5


@dataclass(frozen=True)
class Jitter:
    """How regions lie about that of the face's own mesh; lengths in sides of it.

    Attributes:
        right: mean shift to the face's right side of the picture.
        down: mean shift.
        larger: mean of the logarithm of the side.
        shift: standard deviation of the shift along each axis.
        scale: standard deviation of the logarithm of the side.
        turn: standard deviation of the turn, degrees.
    """

    right: float = 0.0
    down: float = 0.0
    larger: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    turn: float = 0.0

    def draw(self, regions: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Move regions at random.

        Args:
            regions: (B, 2, 3) float, wide crop to square.
            generator: of the numbers; torch's own if None.

        Returns:
            (B, 2, 3) float, on the same device.
        """
        bell = torch.randn(len(regions), 4, generator=generator).clamp(-3, 3).to(regions)
        shift = torch.tensor([self.right, self.down]).to(regions) + self.shift * bell[:, :2]
        factor = torch.exp(-self.larger - self.scale * bell[:, 2])
        angle = np.pi / 180 * self.turn * bell[:, 3]
        cosine, sine = factor * angle.cos(), factor * angle.sin()
        turn = torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2)
        middle = (SIDE - 1) / 2
        moved = turn @ (regions[:, :, 2:] - middle - SIDE * shift[:, :, None]) + middle
        return torch.cat([turn @ regions[:, :, :2], moved], 2)


def cut(wide: Tensor, regions: Tensor) -> Tensor:
    """Cut the network's squares out of wide crops; black beyond them.

    Args:
        wide: (B, 3, 224, 224) float.
        regions: (B, 2, 3) float, wide crop to square.

    Returns:
        (B, 3, 192, 192) float.
    """
    squares: Tensor = warp_affine(wide, regions, (SIDE, SIDE), align_corners=True)
    return squares.contiguous(memory_format=torch.channels_last)


def to_square(meshes: Tensor, regions: Tensor) -> Tensor:
    """Take (B, 468, 3) vertices from pixels of the wide crop to the network's own."""
    linear = regions[:, :, :2]
    plane = meshes[..., :2] @ linear.mT + regions[:, None, :, 2] + 0.5
    return torch.cat([plane, meshes[..., 2:] * _scale(linear)], 2)


def from_square(meshes: Tensor, regions: Tensor) -> Tensor:
    """Take (B, 468, 3) vertices from the network's pixels to those of the wide crop."""
    linear = regions[:, :, :2]
    plane = (meshes[..., :2] - 0.5 - regions[:, None, :, 2]) @ torch.linalg.inv(linear).mT
    return torch.cat([plane, meshes[..., 2:] / _scale(linear)], 2)


def _scale(linear: Tensor) -> Tensor:
    return torch.linalg.vector_norm(linear[:, :, 0], dim=1)[:, None, None]


def usual_region(mean: Tensor) -> Tensor:
    """Return the region of the mean mesh in a wide crop, where any aligned face is.

    Args:
        mean: (468, 3), the mean mesh in pixels of the plain crop.

    Returns:
        (2, 3) float32, wide crop to square, on the CPU.
    """
    vertices = mean.cpu().numpy().astype(np.float64)
    vertices[:, :2] = place_in_crop(vertices[:, :2], WIDE, WIDE_MARGIN)
    return torch.from_numpy(mesh_region(vertices)).float()


def regions_of(meshes: Tensor, otherwise: Tensor) -> Tensor:
    """Lay a region round each mesh, see `faces.mesh.mesh_region`.

    Args:
        meshes: (B, 468, 3), pixels of the wide crop.
        otherwise: (2, 3) or (B, 2, 3), the region of a mesh without extent.

    Returns:
        (B, 2, 3), on the meshes' device.
    """
    axis = meshes[:, EYES[1], :2] - meshes[:, EYES[0], :2]
    length = torch.linalg.vector_norm(axis, dim=1)
    cosine, sine = (axis / length[:, None]).unbind(1)
    turn = torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2)
    upright = meshes[..., :2] @ turn
    low, high = upright.amin(1), upright.amax(1)
    middle = (turn @ ((low + high) / 2)[..., None])[..., 0]
    side = MESH_SIDES * (high - low).amax(1)
    known = (length > 1e-3) & (side >= 1) & side.isfinite()
    regions = squares(middle, side, cosine, sine)
    return torch.where(known[:, None, None], regions, otherwise.to(regions))


def squares(middle: Tensor, side: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return regions by their middles, sides and turns, rounded as `faces.mesh` does.

    Args:
        middle: (B, 2) float, pixels of the wide crop.
        side: (B,) float, likewise.
        cosine: (B,) float, of the angle by which the regions are turned clockwise.
        sine: (B,) float, of the same angle.

    Returns:
        (B, 2, 3) float, wide crop to square.
    """
    cosine, sine = cosine.round(decimals=4), sine.round(decimals=4)
    linear = torch.stack([cosine, sine, -sine, cosine], 1).view(-1, 2, 2)
    linear = linear * (SIDE / side.round(decimals=2))[:, None, None]
    shift = (SIDE - 1) / 2 - linear @ middle.round(decimals=2)[..., None]
    return torch.cat([linear, shift], 2)
