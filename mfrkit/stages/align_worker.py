"""The work of `align`: decode, find, fit, warp, encode; and what `--preview` shows of a face."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face, Policy, select
from mfrkit.faces.geometry import ARCFACE_SIZE, template, warp
from mfrkit.io.clips import decoded
from mfrkit.io.images import write_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.models.device import resolve_device
from mfrkit.pages.contact_sheet import Cell
from mfrkit.stages.find_faces import FaceFinder, Found, fit_crop
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.stages.options import AlignOptions
from mfrkit.stages.run import Opened, opened
from mfrkit.stages.sink import source_name

Colour = tuple[int, int, int]

_SIDE = 320  # pixels of the photo's picture
_BOX, _MESH, _POINTS = (255, 190, 60), (90, 230, 140), (255, 80, 80)


def _preview_cells(
    photo: NDArray[np.uint8], face: Face, crop: NDArray[np.uint8], record: Record
) -> list[Cell]:
    """Draw a face's box and vertices on its photo, beside its crop: (H, W, 3) uint8 RGB each."""
    scale = min(1.0, _SIDE / max(photo.shape[:2]))
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    drawn = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    low, high = (np.round(corner * scale).astype(int).tolist() for corner in face.box.reshape(2, 2))
    cv2.rectangle(drawn, low, high, _BOX, 1, cv2.LINE_AA)
    if face.mesh is not None:
        _dots(drawn, face.mesh.vertices[:, :2] * scale, 1, _MESH)
    _dots(drawn, face.points * scale, 2, _POINTS)
    align = record.blocks["align"]
    words = [f"{align['fit']} {align['score']:.2f}"]
    if "yaw" in align:
        words.append(f"yaw {align['yaw']:.0f}")
    if "turned" in align:
        words.append(f"turned {align['turned']}")
    return [Cell(np.asarray(drawn, np.uint8), record.key), Cell(crop, ", ".join(words))]


def _dots(
    picture: cv2.typing.MatLike, places: NDArray[np.floating], radius: int, colour: Colour
) -> None:
    for x, y in np.round(places).astype(int).tolist():
        cv2.circle(picture, (x, y), radius, colour, -1, cv2.LINE_AA)


_PREVIEW_FACES = 24


class _Crop(NamedTuple):
    """One face of a photo: its record, and for the preview its pixels."""

    record: Record
    pixels: NDArray[np.uint8] | None = None


class AlignWorker:
    """Turns inputs into crops; decoding and encoding run beside the networks, in threads.

    `cells` receives the first faces for the preview, if one is asked for.

    Raises:
        InputError: the detector's weights or the device are not there.
    """

    def __init__(self, options: AlignOptions, cells: list[Cell]) -> None:
        self._options = options
        self._cells = cells
        self._finder = _build_finder(options)

    def __call__(self, items: Iterable[Item]) -> Iterator[list[Record]]:
        """Yield the records of each input, in input order."""
        run = self._options.run
        photos = ordered_map(
            opened, decoded(items), workers=run.threads, weight=lambda item: item.pixels
        )
        batches = batched(photos, run.batch_size, weight=_pixels)
        found = (pair for batch in batches for pair in self._find(batch))
        saved = ordered_map(
            self._save, found, workers=run.threads, weight=lambda pair: _pixels(pair[0])
        )
        for photo, faces, crops in saved:
            self._show(photo, faces, crops)
            yield [crop.record for crop in crops]

    def _find(self, batch: list[Opened]) -> Iterator[tuple[Opened, Found]]:
        """Pair each photo with its faces; with no detector a crop is one face."""
        readable = [photo.pixels for photo in batch if photo.pixels is not None]
        if self._finder is None:
            faces = iter([_whole_crop(pixels) for pixels in readable])
        else:
            faces = iter(self._finder(readable, self._choose))
        for photo in batch:
            yield photo, Found([], []) if photo.pixels is None else next(faces)

    def _choose(self, faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
        options = self._options
        return select(
            faces,
            cast(Policy, options.select),
            size,
            min_score=options.least_score,
            min_size=options.min_size,
        )

    def _save(self, pair: tuple[Opened, Found]) -> tuple[Opened, Found, list[_Crop]]:
        photo, found = pair
        record = replace(photo.item.record, source=source_name(photo.item))
        reason = photo.reason
        if photo.pixels is not None:
            reason = self._why_none(photo.pixels, found)
            crops = [
                self._save_face(_numbered(record, number), photo.pixels, face, found)
                for number, face in enumerate(() if reason else found.chosen, start=1)
            ]
        if reason:
            crops = [_Crop(record.skipped(reason))]
        shown = photo if self._options.preview is not None else photo._replace(pixels=None)
        return shown, found, crops

    def _why_none(self, photo: NDArray[np.uint8], found: Found) -> str:
        """Say why a photo gives no crop; empty if it gives some."""
        height, width = photo.shape[:2]
        if self._finder is None and height != width:
            return f"not an aligned crop: {width}x{height} is not square"
        if found.chosen:
            return ""
        if not found.faces:
            return "no face found"
        best = max(face.score for face in found.faces)
        return (
            f"no face passes: of {len(found.faces)} the best score is {best:.2f}, see --min-score, "
            "--min-size"
        )

    def _save_face(
        self, record: Record, photo: NDArray[np.uint8], face: Face, found: Found
    ) -> _Crop:
        options = self._options
        mean = None if self._finder is None else self._finder.mean
        try:
            matrix, fit = fit_crop(face, mean, options.size, options.margin)
        except InputError as error:
            return _Crop(record.skipped(f"degenerate landmarks: {error}"))
        path = f"{record.key}.{options.image_format}"
        crop = warp(photo, matrix, options.size)
        write_image(options.output / path, crop)
        block: dict[str, Any] = {
            "detector": options.detector,
            "fit": fit,
            "box": _rounded(face.box, 2),
            "score": round(face.score, 5),
            "points": _rounded(face.points, 3),
            "matrix": _rounded(matrix, 8),
            "size": options.size,
            "margin": options.margin,
            "faces": len(found.faces),
        }
        if found.turned:
            block["turned"] = found.turned
        if mean is not None and face.mesh is not None:
            yaw, pitch, roll = (round(angle, 1) for angle in mean.pose(face.mesh))
            block |= {"mesh_score": round(face.mesh.score, 4)}
            block |= {"yaw": yaw, "pitch": pitch, "roll": roll}
            if fit == "mesh":
                block["landmarks"] = _rounded(face.mesh.landmarks, 2)
        elif face.landmarks is not None and face.point_scores is not None:
            block["landmarks"] = _rounded(face.landmarks, 3)
            block["point_scores"] = _rounded(face.point_scores, 4)
        return _Crop(replace(record, path=path, blocks={**record.blocks, "align": block}), crop)

    def _show(self, photo: Opened, found: Found, crops: Sequence[_Crop]) -> None:
        """Add a photo's faces to the preview while there is room."""
        if self._options.preview is None or photo.pixels is None:
            return
        for face, crop in zip(found.chosen, crops, strict=False):
            if crop.pixels is not None and len(self._cells) < 2 * _PREVIEW_FACES:
                self._cells += _preview_cells(photo.pixels, face, crop.pixels, crop.record)


def _build_finder(options: AlignOptions) -> FaceFinder | None:
    if options.detector == "none":
        return None
    return FaceFinder(
        options.detector,
        resolve_device(options.run.device),
        mesh=options.fits_mesh,
        min_size=options.min_size,
        batch_size=options.run.batch_size,
        workers=options.run.threads,
    )


def _pixels(photo: Opened) -> int:
    return 0 if photo.pixels is None else photo.pixels.shape[0] * photo.pixels.shape[1]


def _whole_crop(pixels: NDArray[np.uint8]) -> Found:
    side = pixels.shape[1]
    points = template() * (side / ARCFACE_SIZE)
    face = Face(np.array([0, 0, side, side], np.float32), 1.0, points.astype(np.float32))
    return Found([face], [face])


def _numbered(record: Record, number: int) -> Record:
    """Name the second and later faces of a photo; the first keeps the photo's own key."""
    return record if number == 1 else replace(record, key=f"{record.key}.face{number}")


def _rounded(values: NDArray[Any], digits: int) -> list[Any]:
    return np.round(values.astype(np.float64), digits).tolist()
