"""What `synth-mask` draws on: a picture, and its faces from the manifest or found in it.

In photos that no manifest tells of faces are detected, and their meshes found; an aligned crop
shows one face, of which the mesh alone is looked for.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.errors import ImageError, InputError
from mfrkit.faces.detect import Face, select
from mfrkit.faces.geometry import ARCFACE_SIZE, similarity_from_points, template, transform_points
from mfrkit.faces.mesh import MeanMesh, MeshFinder
from mfrkit.io.images import read_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.stages.find_faces import FaceFinder, fit_crop, load_mesh_finder

MESH = "mesh"  # `fit` of a face whose landmarks, yaw and pitch are those of a mesh
UNKNOWN_TURN = np.full(2, np.nan, np.float32)
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
    turn: NDArray[np.float32] = field(default_factory=UNKNOWN_TURN.copy)

    @property
    def meshed(self) -> bool:
        """Whether a mesh says where the head is."""
        return bool(np.isfinite(self.turn).all())

    @property
    def fit(self) -> str:
        """Return what a mask is shaped by: `mesh`, `landmarks` or `five` points."""
        if self.meshed:
            return MESH
        return "landmarks" if np.isfinite(self.landmarks).all() else "five"

    def to_json(self) -> dict[str, Any]:
        """Return the face as a manifest's list of `faces` has it."""
        block: dict[str, Any] = {"points": _rounded(self.points, 3)}
        if self.fit != "five":
            block["landmarks"] = _rounded(self.landmarks, 2 if self.meshed else 3)
        if self.meshed:
            block["yaw"], block["pitch"] = _rounded(self.turn, 1)
        return block


@dataclass
class Subject:
    """One input on its way through a batch.

    Attributes:
        reason: why nothing can be drawn on it; None while something can.
        picture: (H, W, 3) uint8 RGB.
        is_photo: whether the faces are found in a photo of any size, not one face in its crop.
        wants_mesh: whether nobody has looked yet for the mesh of its one face.
    """

    item: Item
    reason: str | None = None
    picture: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))
    places: list[Place] = field(default_factory=list)
    is_photo: bool = False
    wants_mesh: bool = False


def load_subjects(
    items: Sequence[Item], detector: str, finder: "MaskFaces", *, early: bool = False
) -> list[Subject]:
    """Decode pictures and say where their faces are; what cannot be used has a reason.

    Args:
        items: the inputs.
        detector: `auto` finds faces in pictures that have no landmarks and are no aligned crops;
            `none` never does, nor looks for meshes; any other does in all pictures without
            landmarks.
        finder: of faces and meshes.
        early: whether meshes of manifests are left aside, as before there were any.
    """
    subjects = [_load(item, detector) for item in items]
    usable = [subject for subject in subjects if subject.reason is None]
    blank = [subject for subject in usable if not subject.places]
    crops = [subject for subject in usable if subject.wants_mesh]
    if blank:
        for subject, places in zip(blank, finder.in_photos(_pictures(blank)), strict=True):
            subject.is_photo = True
            subject.places = places
            subject.reason = None if places else "no face found"
    if early:
        for subject in usable:
            subject.places = [replace(place, turn=UNKNOWN_TURN) for place in subject.places]
    if crops and finder.mesh:
        places = [subject.places[0] for subject in crops]
        for subject, place in zip(crops, finder.in_crops(_pictures(crops), places), strict=True):
            subject.places = [place]
    return subjects


def _pictures(subjects: Sequence[Subject]) -> list[NDArray[np.uint8]]:
    return [subject.picture for subject in subjects]


def face_in_crop(record: Record, shape: tuple[int, ...]) -> Place:
    """Return the face of an aligned crop (H, W, 3), in its pixels, as its record has it.

    The template's own points where the record has none.

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
        wants_mesh = _lacks_mesh(item.record)
        if not places and detector in ("auto", "none"):
            places = _of_aligned_crop(picture.shape, required=detector == "none")
            wants_mesh = bool(places)
        return Subject(item, None, picture, places, is_photo, wants_mesh)
    except ImageError as error:
        return Subject(item, reason=str(error))


def _known_places(record: Record) -> tuple[list[Place], bool]:
    """Return the faces a record tells of, and whether they lie in a photo."""
    faces = record.blocks.get("faces")
    if isinstance(faces, list):
        return [_told_place(face, None) for face in faces], True
    align = record.blocks.get("align")
    if not isinstance(align, dict) or "points" not in align:
        return [], False
    matrix = align.get("matrix")
    return [_told_place(align, matrix)], matrix is None


def _lacks_mesh(record: Record) -> bool:
    """Whether a crop was fitted by five points since meshes are known, and none was looked for."""
    align = record.blocks.get("align")
    if not isinstance(align, dict) or "matrix" not in align or "landmarks" in align:
        return False
    return align.get("fit") == "five" and "mesh_score" not in align


def _told_place(block: Any, matrix: Any) -> Place:
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
        return replace(
            place, turn=np.array([float(block["yaw"]), float(block["pitch"])], np.float32)
        )
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise ImageError("malformed align block: points, landmarks, turn or matrix") from error


def _of_aligned_crop(shape: tuple[int, ...], *, required: bool) -> list[Place]:
    height, width = shape[:2]
    if height == width and width % ARCFACE_SIZE == 0:
        return [Place(template(width).astype(np.float32))]
    if required:
        raise ImageError(f"no landmarks: {width}x{height} is no aligned crop, run mfrkit align")
    return []


def _rounded(values: NDArray[np.float32], digits: int) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()


_MIN_SIZE = 24  # of faces in photos, pixels
_LEAST_SCORES = {"yunet": 0.6, "mtcnn": 0.9, "face-alignment": 0.9}
# Where YuNet's box lies in a crop of 112 pixels, the median of 3,811 faces of LFW folds 1 to 5:
# middle and longer side.
_BOX, _BOX_SIDE = np.array([55.4, 64.3]), 105.5


class MaskFaces:
    """Finds faces; networks are loaded when they are first needed, and threads may share them."""

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
            [place for face in each.chosen if (place := _found_place(face, mean)) is not None]
            for each in found
        ]

    def in_crops(self, crops: Sequence[NDArray[np.uint8]], places: Sequence[Place]) -> list[Place]:
        """Look for the meshes of aligned crops, (S, S, 3) uint8 RGB each.

        The points of `places` say where to look; where no mesh is sure, a place stays as it was.
        """
        faces = [Face(_box_round(place.points), 1.0, place.points) for place in places]
        with self._lock:
            finder, mean = self._mesh_finder
            meshes = finder(crops, faces)
        found = [
            _found_place(replace(face, mesh=mesh), mean)
            for face, mesh in zip(faces, meshes, strict=True)
        ]
        return [
            new if new is not None and new.meshed else old
            for new, old in zip(found, places, strict=True)
        ]

    @cached_property
    def _finder(self) -> FaceFinder:
        return FaceFinder(
            self._detector, self._device, mesh=self.mesh, min_size=_MIN_SIZE, workers=self._workers
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


def _found_place(face: Face, mean: MeanMesh | None) -> Place | None:
    """Return where a face is, rounded as in a manifest, to be drawn again alike."""
    points = _as_stored(face.points, 3)
    if mean is None:
        return (
            Place(points)
            if face.landmarks is None
            else Place(points, _as_stored(face.landmarks, 3))
        )
    try:
        _, fit = fit_crop(face, mean, ARCFACE_SIZE, 0.0)
    except InputError:
        return None
    if fit != "mesh" or face.mesh is None:
        return Place(points)
    turn = _as_stored(np.array(mean.pose(face.mesh)[:2]), 1)
    return Place(points, _as_stored(face.mesh.landmarks, 2), turn)


def _as_stored(values: NDArray[np.floating], digits: int) -> NDArray[np.float32]:
    return np.round(values.astype(np.float64), digits).astype(np.float32)
