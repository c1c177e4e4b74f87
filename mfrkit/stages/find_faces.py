"""Find the faces of photos: boxes, then the vertices of those that are wanted.

A photo in which nothing, or nothing sure, is found may lie on its side or stand on its head: it is
searched in the other three positions too, and the best one counts.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from mfrkit.errors import InputError
from mfrkit.faces.detect import Detector, Face, Mesh
from mfrkit.faces.geometry import similarity_from_points, template, transform_points
from mfrkit.faces.landmarks import FaceAlignmentDetector
from mfrkit.faces.mesh import SURE, MeanMesh, MeshFinder, MeshNetwork, fits_box
from mfrkit.faces.mtcnn import MTCNNDetector
from mfrkit.faces.yunet import YuNetDetector
from mfrkit.models.device import single_core_pool
from mfrkit.models.onednn import BlockedFaceMesh, has_blocked_layout
from mfrkit.models.registry import load_network

Choose = Callable[[Sequence[Face], tuple[int, int]], list[Face]]
# A turned face must make good this share of what the other's score lacks; its score if it is alone.
_BETTER, _ALONE = 0.3, 0.75
# By quarters of a turn counterclockwise.
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True)
class Found:
    """The faces of one photo.

    Attributes:
        chosen: those that are wanted, with their meshes, in pixels of the photo as it was given.
        faces: all that were detected.
        turned: degrees by which the photo was turned counterclockwise to find them.
    """

    chosen: list[Face]
    faces: list[Face]
    turned: int = 0


class FaceFinder:
    """Finds the faces of several photos; what is found in one does not depend on the others.

    Args:
        detector: `yunet`, `mtcnn` or `face-alignment`.
        device: where networks run; `yunet` runs on processors only.
        mesh: whether the vertices of chosen faces are found.
        min_size: least side of a face looked for, pixels; `face-alignment` looks for all.
        batch_size: faces per call of `face-alignment`.
        workers: threads.

    Raises:
        InputError: the weights of `face-alignment` are not there.
    """

    def __init__(
        self,
        detector: str,
        device: torch.device,
        *,
        mesh: bool,
        min_size: int,
        batch_size: int = 8,
        workers: int = 1,
    ) -> None:
        self._detector = load_detector(detector, device, batch_size, min_size, workers)
        self._mesh: MeshFinder | None = None
        self.mean: MeanMesh | None = None
        if mesh:
            self._mesh, self.mean = load_mesh_finder(device, workers)

    def __call__(self, photos: Sequence[np.ndarray], choose: Choose) -> list[Found]:
        """Find the faces of photos, (H, W, 3) uint8 RGB of any sizes.

        Args:
            photos: one result each, in order.
            choose: picks the wanted faces of one photo, given its height and width.
        """
        found = self._search(photos, choose, 0)
        upright = list(photos)
        sure = getattr(self._detector, "sure", 0.0)
        doubtful = [at for at, each in enumerate(found) if _best(each) < sure]
        for quarters, turn in _TURNS.items() if doubtful else ():
            turned = [cv2.rotate(photos[at], turn) for at in doubtful]
            for at, photo, other in zip(
                doubtful, turned, self._search(turned, choose, 90 * quarters), strict=True
            ):
                if _is_better(other, found[at], sure):
                    found[at], upright[at] = other, photo
        return self._with_meshes(photos, upright, found)

    def _search(self, photos: Sequence[np.ndarray], choose: Choose, turned: int) -> list[Found]:
        """Detect and choose."""
        return [
            Found(choose(faces, photo.shape[:2]), faces, turned)
            for photo, faces in zip(photos, self._detector(photos), strict=True)
        ]

    def _with_meshes(
        self, photos: Sequence[np.ndarray], upright: Sequence[np.ndarray], found: list[Found]
    ) -> list[Found]:
        """Add the meshes of the chosen faces and take all to the photos as they were given."""
        owners = [at for at, each in enumerate(found) for _ in each.chosen]
        faces = [face for each in found for face in each.chosen]
        meshes: Sequence[Mesh | None] = [None] * len(faces)
        if self._mesh is not None:
            meshes = self._mesh([upright[at] for at in owners], faces)
        chosen: list[list[Face]] = [[] for _ in found]
        for at, face, mesh in zip(owners, faces, meshes, strict=True):
            back = _way_back(photos[at].shape[:2], found[at].turned)
            chosen[at].append(_moved(replace(face, mesh=mesh), back))
        return [replace(each, chosen=own) for each, own in zip(found, chosen, strict=True)]


def load_detector(
    name: str, device: torch.device, batch_size: int, min_size: int, workers: int = 1
) -> Detector:
    """Load a detector by its name on the command line; see `FaceFinder`."""
    if name == "face-alignment":
        return FaceAlignmentDetector(device, batch_size=batch_size)
    network, _ = load_network(name, device)
    if name == "yunet":
        graph = network.graph.cpu().numpy()  # type: ignore[operator]
        return YuNetDetector(graph, min_size=min_size, workers=workers)
    return MTCNNDetector(network, min_size=min_size, device=device)


def load_mesh(device: torch.device) -> tuple[MeshNetwork, torch.Tensor]:
    """Load the bundled mesh network, in its fastest form, and its (468, 3) mean mesh."""
    network, _ = load_network("facemesh", device)
    mean: torch.Tensor = network.mean  # type: ignore[assignment]
    if device.type == "cpu" and has_blocked_layout():
        network = BlockedFaceMesh(network)  # type: ignore[arg-type]
    return network, mean


def load_mesh_finder(device: torch.device, workers: int = 1) -> tuple[MeshFinder, MeanMesh]:
    """Load what finds meshes, in so many threads on a processor, and the mean mesh."""
    network, mean = load_mesh(device)
    pool = single_core_pool(workers if device.type == "cpu" else 1, "mesh")
    return MeshFinder(network, device, pool), MeanMesh(mean.cpu().numpy())


def fit_crop(face: Face, mean: MeanMesh | None, size: int, margin: float) -> tuple[np.ndarray, str]:
    """Fit a face into its crop: by its mesh, or by its five points where that is not to be trusted.

    Args:
        face: with its mesh, if it was looked for.
        mean: the mesh it is fitted to; None for five points.
        size: side of the crop, a multiple of 112 pixels.
        margin: extra context on each side, in sides of the plain crop.

    Returns:
        (2, 3) photo to crop, and `mesh` or `five`.

    Raises:
        InputError: neither gives a crop that could show this face.
    """
    side = size / (1 + 2 * margin)
    if mean is not None and face.mesh is not None and face.mesh.score > SURE:
        with suppress(InputError):
            matrix = mean.matrix(face.mesh, size, margin)
            if fits_box(matrix, face.box, face.points, side):
                return matrix, "mesh"
    matrix = similarity_from_points(face.points, template(size, margin))
    if not fits_box(matrix, face.box, face.points, side):
        raise InputError("the five points do not agree with the box")
    return matrix, "five"


def _best(found: Found) -> float:
    return max((face.score for face in found.chosen), default=0.0)


def _is_better(other: Found, found: Found, sure: float) -> bool:
    """Whether the faces of a turned photo are to be believed rather than those of the other one."""
    if not found.chosen:
        return _best(other) >= _ALONE
    best = _best(found)
    return _best(other) >= max(sure, best + _BETTER * (1 - best))


def _way_back(size: tuple[int, int], turned: int) -> np.ndarray:
    """Return the (2, 3) map from a photo turned counterclockwise to the photo, given its size."""
    height, width = size
    return np.array(
        {
            0: [[1, 0, 0], [0, 1, 0]],
            90: [[0, -1, width - 1], [1, 0, 0]],
            180: [[-1, 0, width - 1], [0, -1, height - 1]],
            270: [[0, 1, 0], [-1, 0, height - 1]],
        }[turned],
        np.float64,
    )


def _moved(face: Face, matrix: np.ndarray) -> Face:
    """Return a face in other pixels."""
    if (matrix == np.eye(2, 3)).all():
        return face
    corners = transform_points(face.box.reshape(2, 2), matrix)
    box = np.concatenate([corners.min(0), corners.max(0)]).astype(np.float32)
    points = transform_points(face.points, matrix).astype(np.float32)
    mesh = face.mesh
    if mesh is not None:
        plane = transform_points(mesh.vertices[:, :2], matrix)
        mesh = replace(mesh, vertices=np.concatenate([plane, mesh.vertices[:, 2:]], 1))
    return replace(face, box=box, points=points, mesh=mesh)
