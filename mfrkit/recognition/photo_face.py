"""A face of a photo and all that is known of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError, InputError, ShapeError
from mfrkit.io.images import read_image

Photo = str | Path | NDArray[np.uint8]
"""A picture file, or RGB pixels (H, W, 3) uint8."""


@dataclass(frozen=True, eq=False)
class PhotoFace:
    """A face of a photo.

    Convention:
        (x, y) in pixels of the photo, x right, y down, pixel centres at integers.

    Attributes:
        box: (4,) float32 x1, y1, x2, y2; may reach beyond the photo.
        score: the detector's confidence in [0, 1].
        points: (5, 2) float32: image-left eye, image-right eye, nose tip, image-left and
            image-right mouth corner.
        crop: (S, S, 3) uint8 RGB, the aligned face.
        cover: (S, S) uint8, 255 where the crop shows a mask or another cover.
        masked: whether so much is covered that the face counts as masked.
        embedding: (D,) float32 of unit norm; the dot product of two is their similarity.
        norm: length of the network's output, which some models make a measure of quality.
    """

    box: NDArray[np.float32]
    score: float
    points: NDArray[np.float32]
    crop: NDArray[np.uint8] = field(repr=False)
    cover: NDArray[np.uint8] = field(repr=False)
    masked: bool
    embedding: NDArray[np.float32] = field(repr=False)
    norm: float


def pixels_of(photo: Photo | Any) -> NDArray[np.uint8]:
    """Return a photo's RGB pixels.

    Args:
        photo: a picture file, RGB pixels (H, W, 3) uint8, or what numpy reads as such.

    Raises:
        InputError: a file that is not a readable picture; its name is in the text.
        ShapeError: another kind of array.
    """
    if isinstance(photo, str | Path):
        try:
            return read_image(Path(photo))
        except ImageError as error:
            raise InputError(f"{photo}: {error}") from error
    pixels = np.asarray(photo)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ShapeError(f"expected RGB uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    return pixels


def as_list(photos: Photo | Iterable[Photo]) -> list[Photo]:
    """Return photos as a list; one alone is a list of one."""
    if isinstance(photos, str | Path) or getattr(photos, "ndim", 0) == 3:
        return [cast(Photo, photos)]
    return list(photos)


def name_of(photo: Photo | Any, place: int) -> str:
    """Name a photo in a message: by its file, or else by its place, from 0.

    Example:
        >>> name_of("ada.jpg", 3), name_of(np.zeros((2, 2, 3), np.uint8), 3)
        ('ada.jpg', 'photo 3')
    """
    return str(photo) if isinstance(photo, str | Path) else f"photo {place}"
