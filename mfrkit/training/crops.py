"""The crops of a training run: looked up by place, read, and what is seen round each face.

`align --size 224 --margin 0.5` shows a face as large as a plain crop of 112 pixels does, with as
much again of the photo on each side. The middle of such a wide crop is the plain one; the rest lets
training align the face anew once it wears a mask.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError
from mfrkit.faces.geometry import ARCFACE_SIZE, transform_points, warp
from mfrkit.io.images import Packed, read_image
from mfrkit.io.item import ArchiveSource
from mfrkit.io.manifest import Record
from mfrkit.methods.realign import WIDE
from mfrkit.stages.mask_faces import Place, face_in_crop


class TrainFace(NamedTuple):
    """One crop to train on; its label is the identity from 0, -1 where unknown."""

    path: Path | Packed
    record: Record
    label: int


class Faces(Protocol):
    """Faces by place, from 0."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> TrainFace: ...
    def __iter__(self) -> Iterator[TrainFace]: ...


class ArchiveFaces:
    """The usable faces of an archive; each is looked up when it is asked for.

    `labels` are the run's, for each person of the source.
    """

    def __init__(self, source: ArchiveSource, labels: Sequence[int]) -> None:
        self._source = source
        self._places = source.usable()
        own = source.labels[self._places]
        of_run: NDArray[np.int32] = np.array([*labels, -1], np.int32)  # place -1: nobody known
        self._labels = of_run[own]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int, /) -> TrainFace:
        item = self._source[int(self._places[place])]
        if item.path is None:
            raise LookupError(f"{item.record.key}: not usable after all")
        return TrainFace(item.path, item.record, int(self._labels[place]))

    def __iter__(self) -> Iterator[TrainFace]:
        return (self[place] for place in range(len(self)))


class JoinedFaces:
    """Several sources of faces, one behind the other."""

    def __init__(self, parts: Sequence[Faces]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: int, /) -> TrainFace:
        part = int(np.searchsorted(self._ends, place, side="right"))
        return self._parts[part][place - self._ends[part] + len(self._parts[part])]

    def __iter__(self) -> Iterator[TrainFace]:
        return (face for part in self._parts for face in part)


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
    """A plain crop: (H, W, 3) uint8 RGB, its points in it, and what is seen round it, or None."""

    pixels: NDArray[np.uint8]
    place: Place
    context: Surroundings | None = None


Read = Callable[[TrainFace], TrainCrop]


def read_each(
    faces: Iterable[TrainFace], read: Read
) -> tuple[list[int], list[TrainCrop], list[str]]:
    """Read what is readable of some faces.

    Returns:
        The places of these among the faces, their crops, and what is wrong with the others, as
        `path: reason`.
    """
    kept: list[int] = []
    crops: list[TrainCrop] = []
    broken: list[str] = []
    for place, face in enumerate(faces):
        try:
            crops.append(read(face))
            kept.append(place)
        except ImageError as error:
            broken.append(f"{face.path}: {error}")
    return kept, crops, broken


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
    place = _face_place(face.record, picture.shape)
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


def _face_place(record: Record, shape: tuple[int, ...]) -> Place:
    """Return where a face is in its picture.

    Points without the matrix of the alignment are taken to be crop pixels already.
    """
    align = record.blocks.get("align")
    if not isinstance(align, dict) or "points" not in align or "matrix" in align:
        return face_in_crop(record, shape)
    try:
        return Place(np.array(align["points"], np.float32).reshape(5, 2))
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError("malformed align block: points") from error


def _box(record: Record, edge: int) -> NDArray[np.float32]:
    """Return a detector's box as `Surroundings` has it; the usual one where the record has none."""
    align: dict[str, Any] = record.blocks["align"]
    if "box" not in align:
        return np.array([*_USUAL_BOX, 0], np.float32)
    try:
        corners = np.array(align["box"], np.float64).reshape(2, 2)
        eyes = np.array(align["points"], np.float64).reshape(5, 2)[:2]
        matrix = np.array(align["matrix"], np.float64).reshape(2, 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError("malformed align block: box, points or matrix") from error
    middle = transform_points(corners.mean(0)[None], matrix)[0] - edge
    side = np.hypot(*matrix[:, 0]) * (corners[1] - corners[0]).max()
    across = matrix[:, :2] @ (eyes[1] - eyes[0])
    turn = np.degrees(np.arctan2(across[1], across[0]))
    return np.array([*middle, side, turn], np.float32)


def read_wide(face: TrainFace) -> TrainCrop:
    """Read an aligned crop of any margin as a wide one of 224 pixels; black where it shows less.

    Raises:
        ImageError: unreadable, no aligned crop, or points that are none.
    """
    crop = read_image(face.path)
    height, width = crop.shape[:2]
    if height != width or width % ARCFACE_SIZE:
        raise ImageError(f"{width}x{height} is no crop of an aligned face, run mfrkit align")
    align = face.record.blocks.get("align")
    try:
        margin = float(align.get("margin", 0.0)) if isinstance(align, dict) else 0.0
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError("malformed align block: margin") from error
    scale = ARCFACE_SIZE * (1 + 2 * margin) / width
    move = np.array([[scale, 0, 0], [0, scale, 0]])
    move[:, 2] = (WIDE - scale * width) / 2
    place = _face_place(face.record, crop.shape)
    points, landmarks = (transform_points(each, move) for each in (place.points, place.landmarks))
    place = replace(place, points=points.astype(np.float32), landmarks=landmarks.astype(np.float32))
    if scale != 1 or width != WIDE:
        crop = warp(crop, move, WIDE)
    return TrainCrop(crop, place)
