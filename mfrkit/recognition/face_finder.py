"""From photos to aligned crops in memory: the one place here that knows how it is done."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face
from mfrkit.faces.geometry import similarity_from_points, template, warp
from mfrkit.faces.select import select
from mfrkit.stages.align_faces import load_detector

# As `mfrkit align` has them unless told otherwise.
_MIN_SCORE, _MIN_SIZE = 0.7, 40


class Found(NamedTuple):
    """A face of a photo.

    Attributes:
        face: where it is.
        crop: (S, S, 3) uint8 RGB, aligned.
    """

    face: Face
    crop: NDArray[np.uint8]


class FaceFinder:
    """Finds the faces of photos and cuts them out as `mfrkit align` does.

    Args:
        device: where the detector runs.
        size: S, side of a crop, a multiple of 112 pixels.

    Raises:
        InputError: no crop of this size can be cut.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        self._size = size
        self._target = template(size)
        self._detect = load_detector("mtcnn", device, 1, _MIN_SIZE)

    def __call__(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Found]]:
        """Find the faces of each photo, the large one near its middle first, then by size.

        Args:
            photos: (H, W, 3) uint8 RGB, of any sizes.

        Raises:
            ShapeError: another kind of array.
        """
        faces = self._detect(photos)
        return [self._cut(photo, found) for photo, found in zip(photos, faces, strict=True)]

    def _cut(self, photo: NDArray[np.uint8], faces: list[Face]) -> list[Found]:
        size = (photo.shape[0], photo.shape[1])
        by_area = select(faces, "all", size, min_score=_MIN_SCORE, min_size=_MIN_SIZE)
        main = select(by_area, "center", size)
        found = []
        for face in (*main, *(face for face in by_area if face is not main[0])):
            try:
                matrix = similarity_from_points(face.points, self._target)
            except InputError:  # points in one place: nothing that could be compared
                continue
            found.append(Found(face, warp(photo, matrix, self._size)))
        return found


def whole_crop(crop: NDArray[np.uint8]) -> Found:
    """Take an aligned crop (S, S, 3) for the one face it shows."""
    side = len(crop)
    box = np.array([0, 0, side, side], np.float32)
    return Found(Face(box, 1.0, template(side).astype(np.float32)), crop)
