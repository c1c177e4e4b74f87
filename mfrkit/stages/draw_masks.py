"""The work of `synth-mask`: decode, draw, encode."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.errors import ImageError
from mfrkit.faces.geometry import ARCFACE_SIZE, template, transform_points
from mfrkit.faces.mask_options import MaskOptions
from mfrkit.faces.mask_sampling import sample_spec
from mfrkit.faces.mask_spec import MaskSpec
from mfrkit.faces.masks import MaskRenderer, to_uint8
from mfrkit.io.images import read_image, write_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.models.device import resolve_device
from mfrkit.stages.contact_sheet import Cell
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.stages.sink import source_name

if TYPE_CHECKING:
    from mfrkit.stages.synth_mask import SynthMaskOptions

REGION_FOLDER = "_regions"
PREVIEW_FACES = 24


@dataclass
class _Face:
    """One input on its way through a batch."""

    item: Item
    reason: str | None = None
    picture: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    points: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))


class MaskWorker:
    """Turns inputs into masked files; whole batches run side by side in threads.

    Args:
        options: of the run.
        wanted: what may be drawn.
        preview: receives the first faces before and after, by position.

    Raises:
        InputError: the device is not there.
    """

    def __init__(
        self,
        options: "SynthMaskOptions",
        wanted: MaskOptions,
        preview: dict[int, tuple[Cell, Cell]],
    ) -> None:
        self._options = options
        self._wanted = wanted
        self._preview = preview
        self._device = resolve_device(options.run.device)
        self._renderer = MaskRenderer().to(self._device).eval()

    def __call__(self, items: Iterable[Item]) -> Iterator[list[Record]]:
        """Yield the records of each input, in input order."""
        run = self._options.run
        batches = batched(items, run.batch_size)
        threads = torch.get_num_threads()
        # Whole batches run in parallel: many small operations on one core each beat each
        # operation split over all cores.
        torch.set_num_threads(1)
        try:
            for records in ordered_map(self._batch, batches, workers=run.workers):
                yield from ([record] for record in records)
        finally:
            torch.set_num_threads(threads)

    def _batch(self, items: list[Item]) -> list[Record]:
        faces = [_load(item) for item in items]
        records: list[Record | None] = [_given_up(face) for face in faces]
        sizes = {f.picture.shape for f, r in zip(faces, records, strict=True) if r is None}
        for size in sorted(sizes):
            places = [
                i for i, f in enumerate(faces) if records[i] is None and f.picture.shape == size
            ]
            for place, record in zip(places, self._draw([faces[i] for i in places]), strict=True):
                records[place] = record
        return [record for record in records if record is not None]

    def _draw(self, faces: list[_Face]) -> Iterator[Record]:
        specs = [sample_spec(self._options.seed, f.item.record.key, self._wanted) for f in faces]
        pixels = torch.from_numpy(np.stack([f.picture for f in faces])).to(self._device)
        points = torch.from_numpy(np.stack([f.points for f in faces])).to(self._device)
        with torch.inference_mode():
            drawn = self._renderer(pixels.permute(0, 3, 1, 2).float() / 255, points, specs)
            masked = to_uint8(drawn.masked).permute(0, 2, 3, 1).cpu().numpy()
            regions = (to_uint8(drawn.region)[:, 0]).cpu().numpy()
        for face, spec, picture, region in zip(faces, specs, masked, regions, strict=True):
            yield self._save(face, spec, np.ascontiguousarray(picture), region)

    def _save(
        self, face: _Face, spec: MaskSpec, picture: NDArray[np.uint8], region: NDArray[np.uint8]
    ) -> Record:
        record, folder = face.item.record, self._options.output
        path = f"{record.key}.{self._options.image_format}"
        covered = float((region > 127).mean())
        block: dict[str, Any] = {
            "type": spec.kind,
            "texture": spec.texture,
            "coverage": spec.coverage,
            "seed": self._options.seed,
            "area": round(covered, 4),
            "spec": spec.to_json(),
        }
        write_image(folder / path, picture)
        if self._options.region:
            block["region"] = f"{REGION_FOLDER}/{record.key}.png"
            write_image(folder / block["region"], region)
        if face.item.position < PREVIEW_FACES:
            self._preview[face.item.position] = (
                Cell(face.picture, record.key),
                Cell(picture, f"{spec.kind} {spec.texture}"),
            )
        return replace(
            record,
            path=path,
            source=source_name(face.item),
            blocks={**record.blocks, "mask": block},
        )


def _load(item: Item) -> _Face:
    if item.path is None:
        return _Face(item, reason=item.record.reason or "skipped earlier")
    try:
        picture = read_image(item.path)
        return _Face(item, picture=picture, points=face_points(item.record, picture.shape))
    except ImageError as error:
        return _Face(item, reason=str(error))


def _given_up(face: _Face) -> Record | None:
    if face.reason is None:
        return None
    return replace(face.item.record.skipped(face.reason), source=source_name(face.item))


def face_points(record: Record, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the five points of a face in its crop.

    Args:
        record: the crop's record; its `align` block places the points.
        shape: of the crop: (H, W, 3).

    Returns:
        (5, 2) float32, pixels.

    Raises:
        ImageError: no usable `align` block, and the picture is no aligned crop either.
    """
    align = record.blocks.get("align")
    if isinstance(align, dict) and "points" in align and "matrix" in align:
        try:
            points = np.array(align["points"], np.float64).reshape(5, 2)
            matrix = np.array(align["matrix"], np.float64).reshape(2, 3)
        except (TypeError, ValueError) as error:
            raise ImageError("malformed align block: points or matrix") from error
        return transform_points(points, matrix).astype(np.float32)
    height, width = shape[:2]
    if height != width or width % ARCFACE_SIZE:
        raise ImageError(f"no landmarks: {width}x{height} is no aligned crop, run mfrkit align")
    return template(width).astype(np.float32)
