"""Finding faces: what a detection is, what a detector does, and the bundled detector."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.faces.cascade import Candidates, finish, propose, refine
from mfrkit.faces.integral import IntegralPhotos
from mfrkit.faces.mesh import Mesh
from mfrkit.faces.pyramid import STEP, WINDOW

_BATCH_PIXELS = 1 << 24  # pixels worked on at once, at 12 bytes each; a larger photo goes alone
_PHOTO_PIXELS = 1 << 26  # a photo beyond this is searched at reduced size: memory stays bounded


@dataclass(frozen=True)
class Face:
    """One detected face.

    Convention:
        (x, y) in pixels of the photo, x right, y down, pixel centres at integers.

    Attributes:
        box: (4,) float32 x1, y1, x2, y2; may reach beyond the photo.
        score: detector confidence in [0, 1].
        points: (5, 2) float32 in ArcFace order: image-left eye, image-right eye, nose tip,
            image-left and image-right mouth corner.
        landmarks: (68, 2) float32 in the iBUG order, when the detector has them.
        point_scores: (68,) float32, confidence of each landmark, when the detector has them.
        mesh: its vertices, once they have been looked for and found.
    """

    box: np.ndarray
    score: float
    points: np.ndarray
    landmarks: np.ndarray | None = None
    point_scores: np.ndarray | None = None
    mesh: Mesh | None = None


class Detector(Protocol):
    """Anything that finds the faces of several photos."""

    def __call__(self, photos: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find the faces: RGB uint8 (H, W, 3) photos of any sizes in, one list each, in order."""


class MTCNNDetector:
    """Face and five-point detector; works on masked faces too.

    Photos of different sizes share a call, and the faces found in one do not depend on the others.
    A photo in which nothing is found is searched once more, at sizes between those of the first
    search: now and then a plain face falls between two of them.
    Coordinates are those of the reference code, which counts pixels from 1: compared with mirror
    images they lie one pixel too far right. Other tools align with the same ones, so they stay.

    Attributes:
        sure: score from which a face is hardly ever found the wrong way up.

    Args:
        networks: module with `pnet`, `rnet` and `onet` as in `mfrkit.models.mtcnn`; it is moved to
            `device` and put in eval mode.
        min_size: side of the smallest face looked for, pixels, at least 12; halving it costs four
            times as much.
        thresholds: lowest probability that passes each of the three steps.
        device: where the networks run.

    Raises:
        InputError: `min_size` is below 12.

    Example:
        >>> from mfrkit.models.mtcnn import MTCNN
        >>> detector = MTCNNDetector(MTCNN())
        >>> detector([np.zeros((9, 9, 3), np.uint8)])
        [[]]
    """

    sure = 0.99

    def __init__(
        self,
        networks: nn.Module,
        *,
        min_size: int = 40,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        device: torch.device | str = "cpu",
    ) -> None:
        if min_size < WINDOW:
            raise InputError(f"smallest face of {min_size} pixels; this detector needs {WINDOW}")
        self._device = torch.device(device)
        # Convolution and pooling on few channels run three to five times faster this way (CPU).
        networks = networks.eval().to(self._device)
        self._networks = networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._min_size = min_size
        self._thresholds = thresholds

    @torch.inference_mode()
    def __call__(self, photos: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find the faces of each photo.

        Args:
            photos: RGB uint8 arrays (H, W, 3) of any sizes.

        Returns:
            For each photo its faces, best score first; an empty list where there is none.

        Raises:
            ShapeError: a photo is not (H, W, 3) uint8.
        """
        faces: list[list[Face]] = [[] for _ in photos]
        self._search(photos, range(len(photos)), self._min_size, faces)
        # Half a step along the pyramid: sizes midway between those of the first search.
        missed = [i for i in range(len(photos)) if not faces[i]]
        self._search(photos, missed, round(self._min_size / math.sqrt(STEP)), faces)
        return faces

    def _search(
        self,
        photos: Sequence[np.ndarray],
        places: Sequence[int],
        min_size: int,
        faces: list[list[Face]],
    ) -> None:
        """Add the faces of the photos at `places` to `faces`."""
        for some in _share(photos, places, min_size):
            chosen, shrink = zip(*(_within_reach(photos[i]) for i in some), strict=True)
            found = self._detect(chosen, max(WINDOW, round(min_size / max(shrink))))
            for k in range(len(found)):
                i = found.photo[k]
                faces[some[i]].append(_face(found, k, shrink[i]))

    def _detect(self, photos: Sequence[np.ndarray], min_size: int) -> Candidates:
        first, second, third = self._thresholds
        sums = IntegralPhotos(photos, self._device)
        found = propose(self._networks.pnet, sums, min_size=min_size, threshold=first)
        found = refine(self._networks.rnet, sums, found, threshold=second)
        return finish(self._networks.onet, sums, found, threshold=third)


def _share(
    photos: Sequence[np.ndarray], places: Sequence[int], min_size: int
) -> Iterator[list[int]]:
    """Split the photos into portions of bounded size; those too small for a face drop out."""
    portion: list[int] = []
    pixels = 0
    for i in places:
        check_photo(photos[i])
        height, width = photos[i].shape[:2]
        if min(height, width) < min_size:
            continue
        if portion and pixels + height * width > _BATCH_PIXELS:
            yield portion
            portion, pixels = [], 0
        portion.append(i)
        pixels += height * width
    if portion:
        yield portion


def check_photo(photo: np.ndarray) -> None:
    """Refuse what is not an RGB uint8 photo (H, W, 3), with a ShapeError."""
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ShapeError(f"expected an RGB uint8 photo (H, W, 3), got {photo.dtype} {photo.shape}")


def _within_reach(photo: np.ndarray) -> tuple[np.ndarray, int]:
    """Average a huge photo down by a whole factor; also return the factor, 1 for most photos."""
    height, width = photo.shape[:2]
    factor = math.ceil(math.sqrt(height * width / _PHOTO_PIXELS))
    if factor == 1:
        return photo, 1
    size = (width // factor, height // factor)
    whole = photo[: size[1] * factor, : size[0] * factor]
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA), factor


def _face(found: Candidates, k: int, factor: int) -> Face:
    if found.points is None:
        raise ShapeError("these candidates have no points yet; run `finish` on them")
    centre = (factor - 1) / 2  # of the first reduced pixel, in photo pixels
    box, points = found.boxes[k] * factor + centre, found.points[k] * factor + centre
    return Face(box.astype(np.float32), float(found.scores[k]), points.astype(np.float32))
