"""What `synth-mask` draws on: a picture, and its faces from the manifest or a detector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError
from mfrkit.faces.detect import Face
from mfrkit.faces.geometry import ARCFACE_SIZE, template, transform_points
from mfrkit.io.images import read_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record

Find = Callable[[Sequence[NDArray[np.uint8]]], list[list[Face]]]
MESH = "mesh"  # `fit` of a face whose landmarks, yaw and pitch are those of a mesh
_JAW_POINTS = 68


@dataclass(frozen=True)
class Place:
    """Where one face is, pixels of its picture.

    Attributes:
        points: (5, 2) float32, eyes, nose tip, mouth corners.
        landmarks: (68, 2) float32; NaN throughout where there are none.
        turn: (2,) float32, yaw and pitch in degrees where the landmarks were picked from a mesh,
            else NaN.
    """

    points: NDArray[np.float32]
    landmarks: NDArray[np.float32] = field(
        default_factory=lambda: np.full((_JAW_POINTS, 2), np.nan, np.float32)
    )
    turn: NDArray[np.float32] = field(default_factory=lambda: np.full(2, np.nan, np.float32))

    @property
    def meshed(self) -> bool:
        """Whether a mesh says where the head is."""
        return bool(np.isfinite(self.turn).all())


@dataclass
class Subject:
    """One input on its way through a batch.

    Attributes:
        item: the input.
        reason: why nothing can be drawn on it; None while something can.
        picture: (H, W, 3) uint8 RGB.
        places: its faces.
        is_photo: whether the faces are found in a photo of any size, not one face in its crop.
    """

    item: Item
    reason: str | None = None
    picture: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))
    places: list[Place] = field(default_factory=list)
    is_photo: bool = False


def load_subjects(items: Sequence[Item], detector: str, find: Find) -> list[Subject]:
    """Decode pictures and say where their faces are.

    Args:
        items: the inputs.
        detector: `auto` finds faces in pictures that have no landmarks and are no aligned crops;
            `none` never does; any other does in all pictures without landmarks.
        find: the detector.

    Returns:
        One each, in order; what cannot be used has a reason.
    """
    subjects = [_load(item, detector) for item in items]
    blank = [s for s in subjects if s.reason is None and not s.places]
    if blank:
        for subject, faces in zip(blank, find([s.picture for s in blank]), strict=True):
            subject.is_photo = True
            subject.places = [_found(face) for face in faces]
            subject.reason = None if faces else "no face found"
    return subjects


def face_in_crop(record: Record, shape: tuple[int, ...]) -> Place:
    """Return what is known of an aligned crop's face.

    Args:
        record: of the crop; its `align` block places the points.
        shape: of the crop: (H, W, 3).

    Returns:
        The face in pixels of the crop; the template's own points where the record has none.

    Raises:
        ImageError: a malformed `align` block, or no points and no aligned crop either.
    """
    places, is_photo = _known_places(record)
    if is_photo:
        raise ImageError("a whole photo: run mfrkit align first")
    return (places or _of_aligned_crop(shape, required=True))[0]


def _load(item: Item, detector: str) -> Subject:
    if item.path is None:
        return Subject(item, reason=item.record.reason or "skipped earlier")
    try:
        picture = read_image(item.path)
        places, is_photo = _known_places(item.record)
        if not places and detector in ("auto", "none"):
            places = _of_aligned_crop(picture.shape, required=detector == "none")
        return Subject(item, None, picture, places, is_photo)
    except ImageError as error:
        return Subject(item, reason=str(error))


def _found(face: Face) -> Place:
    # As precise as a manifest: drawn again from there, the picture is the same.
    points = np.round(face.points.astype(np.float64), 3).astype(np.float32)
    return Place(points) if face.landmarks is None else Place(points, face.landmarks)


def _known_places(record: Record) -> tuple[list[Place], bool]:
    """Return the faces a record tells of, and whether they lie in a photo.

    Raises:
        ImageError: a block that should hold points does not.
    """
    faces = record.blocks.get("faces")
    if isinstance(faces, list):
        return [_place(face, None) for face in faces], True
    align = record.blocks.get("align")
    if not isinstance(align, dict) or "points" not in align:
        return [], False
    matrix = align.get("matrix")
    return [_place(align, matrix)], matrix is None


def _place(block: Any, matrix: Any) -> Place:
    """Read one face: points and landmarks in the photo, and the matrix from there to the crop."""
    try:
        move = np.eye(2, 3) if matrix is None else np.array(matrix, np.float64).reshape(2, 3)
        points = np.array(block["points"], np.float64).reshape(5, 2)
        place = Place(transform_points(points, move).astype(np.float32))
        if block.get("landmarks") is None:
            return place
        landmarks = np.array(block["landmarks"], np.float64).reshape(_JAW_POINTS, 2)
        place = replace(place, landmarks=transform_points(landmarks, move).astype(np.float32))
        if block.get("fit") != MESH:
            return place
        return replace(place, turn=np.array([block["yaw"], block["pitch"]], np.float32))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ImageError(
            "malformed align block: points, landmarks, yaw, pitch or matrix"
        ) from error


def _of_aligned_crop(shape: tuple[int, ...], *, required: bool) -> list[Place]:
    height, width = shape[:2]
    if height == width and width % ARCFACE_SIZE == 0:
        return [Place(template(width).astype(np.float32))]
    if required:
        raise ImageError(f"no landmarks: {width}x{height} is no aligned crop, run mfrkit align")
    return []
