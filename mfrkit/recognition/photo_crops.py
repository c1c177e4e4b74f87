"""From photos to aligned crops in memory: the one place here that knows how it is done."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.config import default_workers
from mfrkit.errors import InputError
from mfrkit.faces.detect import Face
from mfrkit.faces.geometry import template, warp
from mfrkit.faces.select import select
from mfrkit.stages.find_faces import FaceFinder, fit_crop
from mfrkit.stages.options import AlignOptions


class Crop(NamedTuple):
    """A face of a photo.

    Attributes:
        face: where it is.
        pixels: (S, S, 3) uint8 RGB, aligned.
    """

    face: Face
    pixels: NDArray[np.uint8]


class PhotoCrops:
    """Finds the faces of photos and cuts them out as `mfrkit align` does unless told otherwise.

    Args:
        device: where the networks run.
        size: S, side of a crop, a multiple of 112 pixels.

    Attributes:
        method: how it is done, in a word; another one makes other embeddings.

    Raises:
        InputError: no crop of this size can be cut.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        self._options = AlignOptions("", Path(), size=size)
        self.method = f"{self._options.detector}+mesh"
        self._find = FaceFinder(
            self._options.detector,
            device,
            mesh=True,
            min_size=self._options.min_size,
            workers=default_workers(),
        )

    def __call__(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Crop]]:
        """Find the faces of each photo, the large one near its middle first, then by size.

        Args:
            photos: (H, W, 3) uint8 RGB, of any sizes.
        """
        found = self._find(photos, self._choose)
        return [self._cut(p, each.chosen) for p, each in zip(photos, found, strict=True)]

    def _choose(self, faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
        least = self._options.least_score
        by_area = select(faces, "all", size, min_score=least, min_size=self._options.min_size)
        main = select(by_area, "center", size)
        return [*main, *(face for face in by_area if face is not main[0])]

    def _cut(self, photo: NDArray[np.uint8], faces: Sequence[Face]) -> list[Crop]:
        crops = []
        for face in faces:
            try:
                matrix, _ = fit_crop(face, self._find.mean, self._options.size, 0.0)
            except InputError:  # points in one place: nothing that could be compared
                continue
            crops.append(Crop(face, warp(photo, matrix, self._options.size)))
        return crops


def whole_crop(pixels: NDArray[np.uint8]) -> Crop:
    """Take an aligned crop (S, S, 3) for the one face it shows."""
    side = len(pixels)
    box = np.array([0, 0, side, side], np.float32)
    return Crop(Face(box, 1.0, template(side).astype(np.float32)), pixels)
