"""Wide crops: what the mesh network is shown of them, and how it aligns faces once masked.

A wide crop has 224 pixels a side with the plain 112-pixel crop in its middle, as `mfrkit align
--size 224 --margin 0.5` makes it: enough for the region round a face and for a detector's
errors. `align` looks at a photo with the mesh network and fits the upper vertices to the mean
mesh, see `mfrkit.faces.mesh`. Here a batch goes through the same steps on its device, in torch
from one end to the other; what the detector would give is a box that is known and shaken a
little.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from kornia.geometry.transform import warp_affine
from torch import Tensor, nn

from mfrkit.faces.geometry import ARCFACE_SIZE, place_in_crop
from mfrkit.faces.mesh import (
    BOX_SIDES,
    CROP_SIDES,
    EYES,
    MESH_SIDES,
    MOST_TURN,
    SIDE,
    SURE,
    mesh_region,
    upper_part,
)
from mfrkit.models.device import send

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
        """Move (B, 2, 3) regions, wide crop to square, at random; torch's own chance if None."""
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
    """Cut (B, 3, 192, 192) squares out of (B, 3, 224, 224) wide crops; black beyond them."""
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
    """Return the (2, 3) float32 region of any aligned face in a wide crop, on the CPU.

    It is that of the (468, 3) mean mesh, in pixels of the plain crop.
    """
    vertices = mean.cpu().numpy().astype(np.float64)
    vertices[:, :2] = place_in_crop(vertices[:, :2], WIDE, WIDE_MARGIN)
    return torch.from_numpy(mesh_region(vertices)).float()


def regions_of(meshes: Tensor, otherwise: Tensor) -> Tensor:
    """Lay (B, 2, 3) regions round (B, 468, 3) meshes of wide crops, see `faces.mesh.mesh_region`.

    A mesh without extent has the region `otherwise`, (2, 3) or (B, 2, 3).
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
    """Return (B, 2, 3) regions, wide crop to square, rounded as `faces.mesh` does.

    Args:
        middle: (B, 2) float, pixels of the wide crop.
        side: (B,) float, likewise.
        cosine: (B,) float, of the angle by which the regions are turned clockwise.
        sine: (B,) float, of the same angle.
    """
    cosine, sine = cosine.round(decimals=4), sine.round(decimals=4)
    linear = torch.stack([cosine, sine, -sine, cosine], 1).view(-1, 2, 2)
    linear = linear * (SIDE / side.round(decimals=2))[:, None, None]
    shift = (SIDE - 1) / 2 - linear @ middle.round(decimals=2)[..., None]
    return torch.cat([linear, shift], 2)


Network = Callable[[Tensor], tuple[Tensor, Tensor]]
_TOGETHER = 8  # faces at once on a processor: what they need stays in its cache


@dataclass(frozen=True)
class Context:
    """What is seen round M of the B faces of a batch.

    Attributes:
        place: (M,) int64, which faces they are.
        pictures: (M, 3, 2 H, 2 W) uint8 RGB, the plain crops in their middle.
        boxes: (M, 4) float32, where a detector saw the faces, in pixels of the plain crop: middle x
            and y and longer side of its box, and how its line of eyes is turned, degrees clockwise.
    """

    place: Tensor
    pictures: Tensor
    boxes: Tensor

    def to(self, device: torch.device) -> "Context":
        """Return its pictures and boxes on a device."""
        return Context(self.place, send(self.pictures, device), send(self.boxes, device))


class MeshAligner(nn.Module):
    """Align faces by their meshes.

    Args:
        network: as `mfrkit.models.detectors.FaceMesh`.
        mean: (468, 3), the mean mesh in pixels of the plain crop.
        looks: how often the network looks; `align` lets it look once.
    """

    mean: Tensor

    def __init__(self, network: Network, mean: Tensor, looks: int = 1) -> None:
        super().__init__()
        self.network = network
        self.looks = looks
        self.register_buffer("mean", mean[:, :2].clone())
        self.upper = upper_part(mean.cpu().numpy()).nonzero()[0].tolist()

    @torch.no_grad()
    def forward(self, pictures: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Align.

        Args:
            pictures: (M, 3, S, S) float32 RGB in [0, 1].
            boxes: (M, 4) as those of `Context`, but in pixels of the pictures.
            side: of the plain crop.

        Returns:
            (M, 2, 3) similarities from picture to plain crop, and (M,) bool, which of them `align`
            would believe; the others may be anything.
        """
        if pictures.device.type == "cpu":
            parts = zip(pictures.split(_TOGETHER), boxes.split(_TOGETHER), strict=True)
            matrices, sure = zip(*(self._align(*part, side) for part in parts), strict=True)
            return torch.cat(matrices), torch.cat(sure)
        return self._align(pictures, boxes, side)

    def _align(self, pictures: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
        vertices, score = pictures.new_empty(0), pictures.new_empty(0)
        angle = torch.deg2rad(boxes[:, 3])
        regions = squares(boxes[:, :2], BOX_SIDES * boxes[:, 2], angle.cos(), angle.sin())
        for look in range(self.looks):
            if look:
                regions = regions_of(vertices, regions)
            meshes, score = self.network(cut(pictures, regions))
            vertices = from_square(meshes, regions)
        target = self.mean[self.upper] * (side / ARCFACE_SIZE)
        matrix = _fit(vertices[:, self.upper, :2], target)
        sure = (score.sigmoid() > SURE) & matrix.isfinite().all(2).all(1)
        return matrix, sure & _agrees(matrix, boxes, side)


def _fit(points: Tensor, target: Tensor) -> Tensor:
    """Fit similarities, see `faces.geometry.similarity_from_points`."""
    middle, goal = points.mean(1, keepdim=True), target.mean(0)
    source, wanted = points - middle, target - goal
    spread = source.square().sum((1, 2))
    spread = torch.where(spread > 1, spread, torch.nan)  # all in one point: there is no fit
    cosine = (source * wanted).sum((1, 2)) / spread
    crossed = source[..., 0] * wanted[:, 1] - source[..., 1] * wanted[:, 0]
    sine = crossed.sum(1) / spread
    linear = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    return torch.cat([linear, goal[:, None] - linear @ middle.mT], 2)


def _agrees(matrix: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Whether fits agree with the boxes, see `faces.mesh.fits_box`."""
    scale = matrix[:, :, 0].norm(dim=1)
    turn = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])) + boxes[:, 3]
    least, most = (sides * boxes[:, 2] for sides in CROP_SIDES)
    shown = side / scale
    return (least <= shown) & (shown <= most) & (((turn + 180) % 360 - 180).abs() <= MOST_TURN)
