"""Find the faces that `synth-mask` draws on where no manifest tells of them.

In photos they are detected, and their meshes found; an aligned crop shows one face, of which the
mesh alone is looked for.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face
from mfrkit.faces.geometry import ARCFACE_SIZE, similarity_from_points, template
from mfrkit.faces.mesh import MeanMesh
from mfrkit.faces.mesh_finder import MeshFinder
from mfrkit.faces.select import select
from mfrkit.stages.find_faces import FaceFinder, fit_crop, load_mesh_finder
from mfrkit.stages.mask_inputs import Place

_MIN_SIZE = 24  # of faces in photos, pixels
_LEAST_SCORES = {"yunet": 0.6, "mtcnn": 0.9, "face-alignment": 0.9}
# Where YuNet's box lies in a crop of 112 pixels, the median of 3,811 faces of LFW folds 1 to 5:
# middle and longer side.
_BOX, _BOX_SIDE = np.array([55.4, 64.3]), 105.5


class MaskFaces:
    """Finds faces; networks are loaded when they are first needed, and threads may share them.

    Args:
        detector: `yunet`, `mtcnn` or `face-alignment`.
        device: where networks run.
        mesh: whether meshes are looked for.
        workers: threads.
    """

    def __init__(
        self, detector: str, device: torch.device, *, mesh: bool, workers: int = 1
    ) -> None:
        self.mesh = mesh
        self._detector, self._device, self._workers = detector, device, workers
        self._lock = threading.Lock()

    def in_photos(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Place]]:
        """Find the faces of photos, (H, W, 3) uint8 RGB each, largest first.

        Raises:
            InputError: the detector's weights are not there.
        """
        with self._lock:
            found = self._finder(photos, self._choose)
        mean = self._finder.mean
        return [
            [place for face in each.chosen if (place := _place(face, mean)) is not None]
            for each in found
        ]

    def in_crops(self, crops: Sequence[NDArray[np.uint8]], places: Sequence[Place]) -> list[Place]:
        """Look for the meshes of aligned crops, (S, S, 3) uint8 RGB each.

        Args:
            crops: the crops.
            places: their faces; the five points say where to look.

        Returns:
            One each: the place as it was where no mesh is sure.
        """
        faces = [Face(_box_round(place.points), 1.0, place.points) for place in places]
        with self._lock:
            finder, mean = self._mesh_finder
            meshes = finder(crops, faces)
        found = [
            _place(replace(face, mesh=mesh), mean) for face, mesh in zip(faces, meshes, strict=True)
        ]
        return [
            new if new is not None and new.meshed else old
            for new, old in zip(found, places, strict=True)
        ]

    @cached_property
    def _finder(self) -> FaceFinder:
        return FaceFinder(
            self._detector,
            self._device,
            mesh=self.mesh,
            min_size=_MIN_SIZE,
            workers=self._workers,
        )

    @cached_property
    def _mesh_finder(self) -> tuple[MeshFinder, MeanMesh]:
        return load_mesh_finder(self._device, self._workers)

    def _choose(self, faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
        least = _LEAST_SCORES[self._detector]
        return select(faces, "all", size, min_score=least, min_size=_MIN_SIZE)


def _box_round(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the box that YuNet would see round five points."""
    matrix = similarity_from_points(template(), points)
    middle = matrix[:, :2] @ _BOX + matrix[:, 2]
    half = _BOX_SIDE / 2 * np.hypot(matrix[0, 0], matrix[1, 0])
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def _place(face: Face, mean: MeanMesh | None) -> Place | None:
    """Return where a face is, as precisely as a manifest has it: drawn again, it is the same.

    None for a face whose points do not agree with its box.
    """
    points = _rounded(face.points, 3)
    if mean is None:
        return (
            Place(points) if face.landmarks is None else Place(points, _rounded(face.landmarks, 3))
        )
    try:
        _, fit = fit_crop(face, mean, ARCFACE_SIZE, 0.0)
    except InputError:
        return None
    if fit != "mesh" or face.mesh is None:
        return Place(points)
    turn = _rounded(np.array(mean.pose(face.mesh)[:2]), 1)
    return Place(points, _rounded(face.mesh.landmarks, 2), turn)


def _rounded(values: NDArray[np.floating], digits: int) -> NDArray[np.float32]:
    return np.round(values.astype(np.float64), digits).astype(np.float32)
