"""Show faces to the mesh network: a region round each box, a look, and if wished better ones.

The bundled network was taught to see in one look what took the published one two: a second look
changes no error rate (docs/measured.md) and costs as much as all the rest of `align`.

The vertices of a face depend on nothing but its photo and box: on a processor every call has the
same number of squares and stays on one core, so that all sums are taken in the same order.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from torch import Tensor

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face
from mfrkit.faces.geometry import warp
from mfrkit.faces.mesh import SIDE, Mesh, box_region, from_square, mesh_region

MeshNetwork = Callable[[Tensor], tuple[Tensor, Tensor]]
_TOGETHER = 8  # squares a call
LOOKS = 1


class MeshFinder:
    """Finds the vertices of faces whose boxes are known, those of many photos together.

    Args:
        network: as `mfrkit.models.facemesh.FaceMesh`, on `device`.
        device: where it runs.
        pool: makes the calls; its threads stay on one core each, see
            `mfrkit.models.device.single_core_pool`.
        looks: at each face.
    """

    def __init__(
        self, network: MeshNetwork, device: torch.device, pool: Executor, looks: int = LOOKS
    ) -> None:
        self._looks = looks
        self.network = network
        self._device = device
        self._pool = pool

    def __call__(self, photos: Sequence[np.ndarray], faces: Sequence[Face]) -> list[Mesh | None]:
        """Find the vertices of faces.

        Args:
            photos: RGB uint8 (H, W, 3), the photo of each face.
            faces: as many.

        Returns:
            One each; None for a box or a mesh without extent.
        """
        pairs = list(zip(photos, faces, strict=True))
        parts = [pairs[at : at + _TOGETHER] for at in range(0, len(pairs), _TOGETHER)]
        return [mesh for part in self._pool.map(self._find, parts) for mesh in part]

    def _find(self, pairs: Sequence[tuple[np.ndarray, Face]]) -> list[Mesh | None]:
        regions = [_or_none(box_region, face.box, face.points) for _, face in pairs]
        meshes: list[Mesh | None] = [None] * len(pairs)
        for look in range(self._looks):
            if look:
                regions = [
                    None if mesh is None else _or_none(mesh_region, mesh.vertices)
                    for mesh in meshes
                ]
            meshes = self._look([photo for photo, _ in pairs], regions)
        return meshes

    @torch.inference_mode()
    def _look(
        self, photos: Sequence[np.ndarray], regions: Sequence[np.ndarray | None]
    ) -> list[Mesh | None]:
        squares = np.zeros((_TOGETHER, SIDE, SIDE, 3), np.uint8)
        for place, (photo, region) in enumerate(zip(photos, regions, strict=True)):
            if region is not None:
                squares[place] = warp(photo, region, SIDE)
        shown = torch.from_numpy(squares).to(self._device).permute(0, 3, 1, 2).float().div_(255)
        vertices, logits = (each.cpu().numpy() for each in self.network(shown))
        scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
        return [
            None
            if region is None or not np.isfinite(vertices[place]).all()
            else Mesh(from_square(vertices[place], region), float(scores[place]))
            for place, region in enumerate(regions)
        ]


def _or_none(region: Callable[..., np.ndarray], *arguments: np.ndarray) -> np.ndarray | None:
    try:
        return region(*arguments)
    except InputError:
        return None
