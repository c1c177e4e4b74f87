"""Faces that were cut out wide: what is seen round them, and how the mesh aligns them once masked.

`align` looks at a photo with the mesh network and fits the upper vertices to the mean mesh,
see `mfrkit.faces.mesh`. Here a batch goes through the same steps on its device, in torch from one
end to the other; what the detector would give is a box that is known and shaken a little.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mfrkit.faces.geometry import ARCFACE_SIZE
from mfrkit.faces.mesh import BOX_SIDES, CROP_SIDES, MOST_TURN, SURE, upper_part
from mfrkit.methods.looks import cut, from_square, regions_of, squares

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
        """Return it on a device."""
        return Context(self.place.to(device), self.pictures.to(device), self.boxes.to(device))


class MeshAligner(nn.Module):
    """Align faces by their meshes.

    Args:
        network: as `mfrkit.models.facemesh.FaceMesh`.
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
