"""One crop to train on as it comes from disk: the face, where it is, and what is seen round it.

`align --size 224 --margin 0.5` shows a face as large as a plain crop of 112 pixels does, with as
much again of the photo on each side. The middle of such a wide crop is the plain one; the rest lets
training align the face anew once it wears a mask.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError
from mfrkit.faces.geometry import transform_points
from mfrkit.io.images import read_image
from mfrkit.io.manifest import Record
from mfrkit.stages.mask_inputs import Place, face_in_crop
from mfrkit.stages.train_faces import TrainFace

# What YuNet's box is to an aligned face of 112 pixels in the median of 6,401 photos: its middle and
# its longer side, pixels of the plain crop.
_USUAL_BOX = (55.6, 64.3, 105.5)


@dataclass(frozen=True)
class Surroundings:
    """What is seen round a face.

    Attributes:
        picture: (2 H, 2 W, 3) uint8 RGB, the plain crop in its middle.
        box: (4,) float32, where a detector saw the face, in pixels of the plain crop: middle x and
            y and longer side of its box, and how its line of eyes is turned, degrees.
    """

    picture: NDArray[np.uint8]
    box: NDArray[np.float32]


@dataclass(frozen=True)
class TrainCrop:
    """A plain crop.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        place: its five points and landmarks, crop pixels.
        context: what is seen round it, or None.
    """

    pixels: NDArray[np.uint8]
    place: Place
    context: Surroundings | None = None


def read_crop(face: TrainFace, size: tuple[int, int]) -> TrainCrop:
    """Read a face as a plain crop of a given (height, width), cut out of a wider one if it is one.

    Raises:
        ImageError: unreadable, of another size, or with malformed points.
    """
    picture = read_image(face.path)
    height, width = picture.shape[:2]
    edge = _edge(face.record, (height, width), size)
    if edge is None:
        raise ImageError(f"{width}x{height} is no crop of {size[1]}x{size[0]}, run mfrkit align")
    place = face_place(face.record, picture.shape)
    if not edge:
        return TrainCrop(picture, place)
    shift = np.float32(edge)
    place = replace(place, points=place.points - shift, landmarks=place.landmarks - shift)
    beyond = edge - size[0] // 2
    wide = picture[beyond : height - beyond, beyond : width - beyond]
    around = Surroundings(wide, _box(face.record, edge))
    return TrainCrop(picture[edge:-edge, edge:-edge], place, around)


def _edge(record: Record, shape: tuple[int, int], size: tuple[int, int]) -> int | None:
    """Return how many pixels a picture shows beyond the plain crop; None if it is no such crop."""
    if shape == size:
        return 0
    align = record.blocks.get("align")
    if not isinstance(align, dict) or not {"margin", "points", "matrix"} <= align.keys():
        return None
    margin, (height, width) = align["margin"], shape
    if height != width or not isinstance(margin, int | float) or not 0.5 <= margin < np.inf:
        return None
    plain = height / (1 + 2 * margin)
    return (height - size[0]) // 2 if (plain, plain) == size else None


def face_place(record: Record, shape: tuple[int, ...]) -> Place:
    """Return where a face is in its picture.

    Points without the matrix of the alignment are taken to be crop pixels already.

    Raises:
        ImageError: points that are none, or no points and no aligned crop.
    """
    align = record.blocks.get("align")
    if not isinstance(align, dict) or "points" not in align or "matrix" in align:
        return face_in_crop(record, shape)
    try:
        return Place(np.array(align["points"], np.float32).reshape(5, 2))
    except (TypeError, ValueError) as error:
        raise ImageError("malformed align block: points") from error


def _box(record: Record, edge: int) -> NDArray[np.float32]:
    """Return a detector's box as `Surroundings` has it; the usual one where the record has none.

    Raises:
        ImageError: a malformed block.
    """
    align: dict[str, Any] = record.blocks["align"]
    if "box" not in align:
        return np.array([*_USUAL_BOX, 0], np.float32)
    try:
        corners = np.array(align["box"], np.float64).reshape(2, 2)
        eyes = np.array(align["points"], np.float64).reshape(5, 2)[:2]
        matrix = np.array(align["matrix"], np.float64).reshape(2, 3)
    except (TypeError, ValueError) as error:
        raise ImageError("malformed align block: box, points or matrix") from error
    middle = transform_points(corners.mean(0)[None], matrix)[0] - edge
    side = np.hypot(*matrix[:, 0]) * (corners[1] - corners[0]).max()
    across = matrix[:, :2] @ (eyes[1] - eyes[0])
    turn = np.degrees(np.arctan2(across[1], across[0]))
    return np.array([*middle, side, turn], np.float32)
