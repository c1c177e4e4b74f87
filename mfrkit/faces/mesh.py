"""Meshes of 468 vertices: found in faces, and fitted to the mean one for crop, pose and landmarks.

A similarity is fitted to the upper vertices alone, those that the mean mesh has above the tip of
the nose: what a mask hides has no say. The network is that of `mfrkit.models.detectors`. The
bundled one was taught to see in one look what took the published one two: a second look changes no
error rate (docs/measured.md) and costs as much as all the rest of `align`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from torch import Tensor

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face, Mesh
from mfrkit.faces.geometry import place_in_crop, similarity_from_points, warp

SIDE = 192  # of the network's square, pixels
SURE = 0.1  # least score of a mesh that is one
BOX_SIDES, MESH_SIDES = 1.5, 1.5  # side of a region in longer sides of a box, of a mesh's extent
_UPPER = 72.0  # row of the crop that is just below the tip of the mean nose
EYES = (33, 263)  # outer corners, image-left and image-right
_EYE_CORNERS = [33, 133], [362, 263]
# What a fit may differ by from the detector's box and eyes: a crop's side in longer sides of the
# box, and the turn in degrees.
CROP_SIDES, MOST_TURN = (0.5, 2.5), 60.0
_PROFILE = 0.15  # distance between the eyes in sides of the box, below which they say nothing


def box_region(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Lay the network's square round a detector's box (4,), turned so that the eyes are level.

    Returns:
        (2, 3) float64, photo to square.

    Raises:
        InputError: a box without extent, or numbers that are not finite.
    """
    middle = (np.asarray(box[:2], np.float64) + box[2:]) / 2
    side = float(np.max(np.asarray(box[2:], np.float64) - box[:2]))
    return _square(middle, BOX_SIDES * side, np.asarray(points[1], np.float64) - points[0])


def mesh_region(vertices: np.ndarray) -> np.ndarray:
    """Lay the network's square round the (468, 3) vertices of an earlier look; see `box_region`."""
    axis = vertices[EYES[1], :2] - vertices[EYES[0], :2]
    along = axis / max(float(np.hypot(*axis)), 1e-9)
    turn = np.stack([along, [-along[1], along[0]]], 1)
    upright = vertices[:, :2] @ turn
    low, high = upright.min(0), upright.max(0)
    middle = turn @ ((low + high) / 2)
    return _square(middle, MESH_SIDES * float((high - low).max()), axis)


def _square(middle: np.ndarray, side: float, axis: np.ndarray) -> np.ndarray:
    """Return the map that takes `middle` to the square's middle and `axis` to its rows.

    Its numbers are rounded, so that noise in the last digit of a vertex moves no pixel.
    """
    length = float(np.hypot(*axis))
    if not (np.isfinite(middle).all() and 1 <= side < 1e6 and 1e-3 < length < 1e6):
        raise InputError("the face has no extent or is not finite")
    turn = np.round(axis / length, 4)
    scale = SIDE / round(side, 2)
    linear = scale * np.array([[turn[0], turn[1]], [-turn[1], turn[0]]])
    shift = (SIDE - 1) / 2 - linear @ np.round(middle, 2)
    return np.concatenate([linear, shift[:, None]], 1)


def from_square(mesh: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Take the network's (468, 3) vertices, pixels from its square's corner, to the photo."""
    linear = np.linalg.inv(region[:, :2])
    plane = (mesh[:, :2] - 0.5 - region[:, 2]) @ linear.T
    depth = mesh[:, 2:] * np.hypot(linear[0, 0], linear[1, 0])
    return np.concatenate([plane, depth], 1).astype(np.float64)


def upper_part(mean: np.ndarray) -> np.ndarray:
    """Say which vertices of the mean mesh, (468, 3), are above the tip of the nose, (468,) bool."""
    return mean[:, 1] < _UPPER


def eye_distance(vertices: np.ndarray) -> np.ndarray:
    """Return the distance between the middles of the eyes of (..., 468, 3) vertices, in 3D."""
    eyes = [vertices[..., corners, :].mean(-2) for corners in _EYE_CORNERS]
    return np.linalg.norm(eyes[1] - eyes[0], axis=-1)


class MeanMesh:
    """The mean face in the frame of the 112-pixel crop, to which meshes are fitted.

    Args:
        vertices: (468, 3), pixels of the plain crop; z in the same unit, smaller is nearer.
    """

    def __init__(self, vertices: np.ndarray) -> None:
        self.vertices = np.asarray(vertices, np.float64)
        self._upper = upper_part(self.vertices)
        middle = self.vertices[self._upper].mean(0)
        self._centred = _towards_camera(self.vertices[self._upper] - middle)

    def matrix(self, mesh: Mesh, size: int, margin: float) -> np.ndarray:
        """Fit the face's upper vertices to the mean mesh; size and margin are those of `template`.

        Returns:
            (2, 3) float64 similarity, photo to crop.

        Raises:
            InputError: all vertices in one point, or numbers that are not finite.
        """
        target = place_in_crop(self.vertices[self._upper, :2], size, margin)
        return similarity_from_points(mesh.vertices[self._upper, :2], target)

    def pose(self, mesh: Mesh) -> tuple[float, float, float]:
        """Tell how the head is turned, from the upper vertices in three dimensions.

        Paper:
            Kabsch, Acta Crystallographica A32, 1976: the rotation of least squares.

        Returns:
            Degrees: yaw, positive where the nose points to the picture's right; pitch, positive
            where it points up; roll, positive clockwise as the picture shows it.
        """
        upper = mesh.vertices[self._upper]
        left, _, right = np.linalg.svd(_towards_camera(upper - upper.mean(0)).T @ self._centred)
        flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
        turn = left @ flip @ right  # mean face to this one
        yaw = np.arctan2(-turn[2, 0], turn[2, 2])
        pitch = np.arcsin(np.clip(turn[2, 1], -1, 1))
        roll = np.arctan2(-turn[0, 1], turn[1, 1])
        return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def _towards_camera(points: np.ndarray) -> np.ndarray:
    return points * np.array([1.0, 1.0, -1.0])


def fits_box(matrix: np.ndarray, box: np.ndarray, points: np.ndarray, side: float) -> bool:
    """Whether a fit agrees with what the detector saw: no wild size, no wild turn.

    Args:
        matrix: (2, 3) similarity, photo to crop.
        box: (4,) x1, y1, x2, y2.
        points: (5, 2), of which the first two are the eyes.
        side: of the plain face in the crop, pixels: 112 in a crop of 112 without margin.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not np.isfinite(matrix).all() or scale <= 0:
        return False
    length = float(np.max(box[2:] - box[:2]))
    least, most = (sides * length for sides in CROP_SIDES)
    eyes = np.asarray(points[1], np.float64) - points[0]
    across = matrix[:, :2] @ eyes
    turn = abs(np.degrees(np.arctan2(across[1], across[0])))
    in_profile = np.hypot(*eyes) < _PROFILE * length  # two points in one tell no direction
    return bool(least <= side / scale <= most and (in_profile or turn <= MOST_TURN))


MeshNetwork = Callable[[Tensor], tuple[Tensor, Tensor]]
_TOGETHER = 8  # squares a call


class MeshFinder:
    """Finds the vertices of faces whose boxes are known, those of many photos together.

    They depend on nothing but a face's photo and box: on a processor every call has the same number
    of squares and stays on one core, so that all sums are taken in the same order.

    Args:
        network: as `mfrkit.models.detectors.FaceMesh`, on `device`.
        device: where it runs.
        pool: makes the calls; its threads stay on one core each, see
            `mfrkit.models.device.single_core_pool`.
        looks: at each face.
    """

    def __init__(
        self, network: MeshNetwork, device: torch.device, pool: Executor, looks: int = 1
    ) -> None:
        self._looks = looks
        self.network = network
        self._device = device
        self._pool = pool

    def __call__(self, photos: Sequence[np.ndarray], faces: Sequence[Face]) -> list[Mesh | None]:
        """Find the vertices of faces; None for a box or a mesh without extent.

        Args:
            photos: RGB uint8 (H, W, 3), the photo of each face.
            faces: as many.
        """
        pairs = list(zip(photos, faces, strict=True))
        parts = [pairs[at : at + _TOGETHER] for at in range(0, len(pairs), _TOGETHER)]
        return [mesh for part in self._pool.map(self._find, parts) for mesh in part]

    def _find(self, pairs: Sequence[tuple[np.ndarray, Face]]) -> list[Mesh | None]:
        regions = [_or_none(box_region, face.box, face.points) for _, face in pairs]
        meshes: list[Mesh | None] = [None] * len(pairs)
        for look in range(self._looks):
            if look:
                regions = [_or_none(mesh_region, m.vertices) if m else None for m in meshes]
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
