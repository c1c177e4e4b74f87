"""The work of `align`: decode, detect, choose, warp, encode."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError, InputError
from mfrkit.faces.detect import Detector, Face, MTCNNDetector
from mfrkit.faces.geometry import ARCFACE_SIZE, similarity_from_points, template, warp
from mfrkit.faces.landmarks import FaceAlignmentDetector
from mfrkit.faces.select import Policy, select
from mfrkit.io.images import read_image, write_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.models.device import resolve_device
from mfrkit.models.registry import load_network
from mfrkit.stages.align_options import AlignOptions
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.stages.sink import source_name

BATCH_PIXELS = 1 << 25  # 100 MB of decoded photos; larger photos travel alone


class _Photo(NamedTuple):
    """One input on its way: its pixels, or why there are none."""

    item: Item
    pixels: NDArray[np.uint8] | None
    reason: str = ""


class AlignWorker:
    """Turns inputs into crops; decoding and encoding run beside the detector, in threads.

    Args:
        options: of the run.

    Raises:
        InputError: the detector's weights or the device are not there.
    """

    def __init__(self, options: AlignOptions) -> None:
        self._options = options
        self._target = template(options.size, options.margin)
        self._detector = _build_detector(options)

    def __call__(self, items: Iterable[Item]) -> Iterator[list[Record]]:
        """Yield the records of each input, in input order."""
        run = self._options.run
        photos = ordered_map(_load, items, workers=run.workers)
        batches = batched(photos, run.batch_size, weight=_pixels, limit=BATCH_PIXELS)
        found = (pair for batch in batches for pair in self._detect(batch))
        yield from ordered_map(self._save, found, workers=run.workers)

    def _detect(self, batch: list[_Photo]) -> Iterator[tuple[_Photo, list[Face]]]:
        """Pair each photo with its faces; with no detector a crop is one face."""
        readable = [photo.pixels for photo in batch if photo.pixels is not None]
        if self._detector is None:
            faces = iter([[_whole_crop(pixels)] for pixels in readable])
        else:
            faces = iter(self._detector(readable))
        for photo in batch:
            yield photo, [] if photo.pixels is None else next(faces)

    def _save(self, found: tuple[_Photo, list[Face]]) -> list[Record]:
        photo, faces = found
        record = replace(photo.item.record, source=source_name(photo.item))
        if photo.pixels is None:
            return [record.skipped(photo.reason)]
        height, width = photo.pixels.shape[:2]
        if self._detector is None and height != width:
            return [record.skipped(f"not an aligned crop: {width}x{height} is not square")]
        chosen = self._choose(faces, (height, width))
        if not chosen:
            return [record.skipped(_why_none(faces))]
        return [
            self._save_face(_numbered(record, number), photo.pixels, face, len(faces))
            for number, face in enumerate(chosen, start=1)
        ]

    def _choose(self, faces: list[Face], size: tuple[int, int]) -> list[Face]:
        if self._detector is None:
            return faces
        options = self._options
        return select(
            faces,
            cast(Policy, options.select),
            size,
            min_score=options.min_score,
            min_size=options.min_size,
        )

    def _save_face(
        self, record: Record, photo: NDArray[np.uint8], face: Face, found: int
    ) -> Record:
        options = self._options
        try:
            matrix = similarity_from_points(face.points, self._target)
        except InputError as error:
            return record.skipped(f"degenerate landmarks: {error}")
        path = f"{record.key}.{options.image_format}"
        write_image(options.output / path, warp(photo, matrix, options.size))
        block: dict[str, Any] = {
            "detector": options.detector,
            "box": _rounded(face.box, 2),
            "score": round(face.score, 5),
            "points": _rounded(face.points, 3),
            "matrix": _rounded(matrix, 8),
            "size": options.size,
            "margin": options.margin,
            "faces": found,
        }
        if face.landmarks is not None and face.point_scores is not None:
            block["landmarks"] = _rounded(face.landmarks, 3)
            block["point_scores"] = _rounded(face.point_scores, 4)
        return replace(record, path=path, blocks={**record.blocks, "align": block})


def _build_detector(options: AlignOptions) -> Detector | None:
    if options.detector == "none":
        return None
    device = resolve_device(options.run.device)
    if options.detector == "face-alignment":
        return FaceAlignmentDetector(device, batch_size=options.run.batch_size)
    networks, _ = load_network("mtcnn", device)
    return MTCNNDetector(networks, min_size=options.min_size, device=device)


def _load(item: Item) -> _Photo:
    if item.path is None:
        return _Photo(item, None, item.record.reason or "skipped earlier")
    try:
        return _Photo(item, read_image(item.path))
    except ImageError as error:
        return _Photo(item, None, str(error))


def _pixels(photo: _Photo) -> int:
    return 0 if photo.pixels is None else photo.pixels.shape[0] * photo.pixels.shape[1]


def _whole_crop(pixels: NDArray[np.uint8]) -> Face:
    side = pixels.shape[1]
    points = template() * (side / ARCFACE_SIZE)
    return Face(np.array([0, 0, side, side], np.float32), 1.0, points.astype(np.float32))


def _why_none(faces: list[Face]) -> str:
    if not faces:
        return "no face found"
    best = max(face.score for face in faces)
    return (
        f"no face passes: of {len(faces)} the best score is {best:.2f}, see --min-score, --min-size"
    )


def _numbered(record: Record, number: int) -> Record:
    """Name the second and later faces of a photo; the first keeps the photo's own key."""
    return record if number == 1 else replace(record, key=f"{record.key}.face{number}")


def _rounded(values: NDArray[Any], digits: int) -> list[Any]:
    return np.round(values.astype(np.float64), digits).tolist()
