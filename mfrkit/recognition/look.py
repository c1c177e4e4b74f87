"""Look at many photos, files or arrays: the faces of each, in order, in bounded memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mfrkit.config import default_workers
from mfrkit.errors import ImageError, InputError, ShapeError
from mfrkit.io.images import read_image
from mfrkit.io.item import Item
from mfrkit.models.cards import ModelCard
from mfrkit.stages.flow import batched, ordered_map

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
    """Return a photo's RGB pixels, (H, W, 3) uint8.

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
    """Name a photo in a message: by its file, or else by its place, from 0."""
    return str(photo) if isinstance(photo, str | Path) else f"photo {place}"


_BATCH = 32


class Embedder(Protocol):
    """What finds and embeds faces: a `Recogniser`."""

    card: ModelCard

    @property
    def origin(self) -> Mapping[str, Any]:
        """What its embedding files say of how their vectors were made."""

    def faces_of(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[PhotoFace]]:
        """Find all faces of photos (H, W, 3) uint8 RGB, the main one of each first."""

    def aligned(self, crops: Sequence[NDArray[np.uint8]]) -> list[PhotoFace]:
        """Take aligned crops for a face each."""


class Picture(NamedTuple):
    """A picture about to be looked at, or the reason why it has no pixels."""

    key: str
    pixels: NDArray[np.uint8] | None  # (H, W, 3) RGB
    reason: str | None = None
    is_crop: bool = False  # a face that `mfrkit align` cut out


class SeenPhoto(NamedTuple):
    """A picture that was looked at: its faces, the main one first, or the reason for none."""

    key: str
    faces: Sequence[PhotoFace]
    reason: str | None = None


def look(pictures: Iterable[Picture], embedder: Embedder) -> Iterator[SeenPhoto]:
    """Yield what each picture shows, in order."""
    for batch in batched(pictures, _BATCH, weight=_size):
        crops = [p.pixels for p in batch if p.is_crop and p.pixels is not None]
        photos = [p.pixels for p in batch if not p.is_crop and p.pixels is not None]
        aligned = ([face] for face in embedder.aligned(crops))
        found = iter(embedder.faces_of(photos))
        for picture in batch:
            if picture.pixels is None:
                yield SeenPhoto(picture.key, (), picture.reason)
                continue
            faces = next(aligned) if picture.is_crop else next(found)
            reason = None if faces else "no face found"
            yield SeenPhoto(picture.key, faces, reason)


def read_items(items: Iterable[Item], embedder: Embedder) -> Iterator[Picture]:
    """Decode the inputs of a command, some ahead, in threads."""
    load = partial(_load, side=embedder.card.input_size)
    return ordered_map(load, items, workers=default_workers(), weight=lambda item: item.pixels)


def read_photos(photos: Iterable[Photo]) -> Iterator[Picture]:
    """Decode photos given as files or arrays; what cannot be read has a reason.

    Raises:
        ShapeError: an array of another kind.
    """
    for place, photo in enumerate(photos):
        name = name_of(photo, place)
        try:
            yield Picture(name, pixels_of(photo))
        except InputError as error:
            if not isinstance(photo, str | Path):
                raise
            yield Picture(name, None, str(error).removeprefix(f"{photo}: "))


def _load(item: Item, side: tuple[int, int] | None) -> Picture:
    key = item.record.key
    if item.path is None:
        return Picture(key, None, item.record.reason or "skipped earlier")
    try:
        pixels = read_image(item.path)
    except ImageError as error:
        return Picture(key, None, str(error))
    is_crop = "align" in item.record.blocks
    if is_crop and pixels.shape[:2] != side:
        return Picture(key, None, f"not a {side} crop: {pixels.shape[1]}x{pixels.shape[0]}")
    return Picture(key, pixels, None, is_crop)


def _size(picture: Picture) -> int:
    return 0 if picture.pixels is None else picture.pixels.shape[0] * picture.pixels.shape[1]
