"""The work of `inpaint`: decode, find or read the region, complete, encode.

A region is predicted, or read from the file its manifest names or from a folder of PNGs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import ImageError, InputError
from mfrkit.io.images import read_image, write_image
from mfrkit.io.item import Item, root_of
from mfrkit.io.manifest import Record, check_inside
from mfrkit.masks.renderer import to_uint8
from mfrkit.models.device import resolve_device
from mfrkit.models.region import MASKED_AREA, load_region
from mfrkit.models.registry import load_for_task
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.stages.options import PREDICTED, InpaintOptions
from mfrkit.stages.sink import source_name

_FIELDS = ("region", "region_exact")


def _read_region(item: Item, place: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read how much of each pixel of a face is covered: (H, W) uint8 of its size, height and width.

    `place` is `manifest`, or a folder with a PNG under each face's key.
    """
    if place == "manifest":
        if _is_bare(item.record):
            return np.zeros(size, np.uint8)
        path = root_of(item) / _named(item.record)
    else:
        path = Path(place) / f"{item.record.key}.png"
    try:
        region = read_image(path)[..., 0]
    except ImageError as error:
        raise ImageError(f"no region: {path}: {error}") from error
    if region.shape != size:
        height, width = region.shape
        raise ImageError(f"region of another size: {width}x{height}, the face {size[1]}x{size[0]}")
    return region


def _is_bare(record: Record) -> bool:
    """Whether the manifest says that no mask was drawn on the face."""
    block = record.blocks.get("mask")
    return isinstance(block, dict) and block.get("type") == "none" and "region" not in block


def _named(record: Record) -> str:
    """Return the region file a record names, relative to its manifest."""
    for stage in ("mask", "inpaint"):
        block = record.blocks.get(stage)
        names = [block.get(field) for field in _FIELDS] if isinstance(block, dict) else []
        for name in names:
            if isinstance(name, str):
                try:
                    check_inside(name, "region")
                except InputError as error:
                    raise ImageError(str(error)) from error
                return name
    raise ImageError("no region in its record: use --region predicted")


REGION_FOLDER = "_regions"
_RIM = 7  # pixels at the network's size; completion may reach this far round the region


@dataclass
class _Job:
    """One input on its way: (H, W, 3) uint8 RGB pictures, (H, W) uint8 of how much is covered."""

    item: Item
    reason: str | None = None
    picture: NDArray[np.uint8] | None = None
    region: NDArray[np.uint8] | None = None
    completed: NDArray[np.uint8] | None = None

    @property
    def coverage(self) -> float:
        """Return the share of the picture that is covered for more than a half."""
        return 0.0 if self.region is None else float((self.region > 127).mean())


class CompletionWorker:
    """Turns masked faces into completed ones, in input order.

    `counted` receives how many faces were masked and how many were not.

    Raises:
        InputError: no such model or device, or a model for another task.
        WeightsError: a model file is damaged.
    """

    def __init__(self, options: InpaintOptions, counted: Counter[bool]) -> None:
        self._options, self._counted = options, counted
        self._device = resolve_device(options.run.device)
        generator, card = load_for_task(options.model, "completion", self._device)
        # A quarter faster on a processor; stacked pictures come in this layout.
        self._generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if card.input_size is None:
            raise InputError(f"{options.model}: its card names no input size")
        self._size = card.input_size
        predicts = options.region == PREDICTED
        self._finder = load_region(options.predictor(), self._device) if predicts else None

    def __call__(self, items: Iterable[Item]) -> Iterator[list[Record]]:
        """Yield the record of each input."""
        run = self._options.run
        jobs = ordered_map(self._load, items, workers=run.threads, weight=lambda item: item.pixels)
        batches = batched(jobs, run.batch_size, weight=_pixels)
        completed = (job for batch in batches for job in self._complete(batch))
        for record in ordered_map(self._save, completed, workers=run.threads, weight=_pixels):
            yield [record]

    def _load(self, item: Item) -> _Job:
        if item.path is None:
            return _Job(item, item.record.reason or "skipped earlier")
        try:
            picture = read_image(item.path)
            height, width = picture.shape[:2]
            if height != width:
                raise ImageError(f"{width}x{height} is no aligned crop, run mfrkit align")
            region = None
            if self._finder is None:
                region = _read_region(item, self._options.region, (height, width))
        except ImageError as error:
            return _Job(item, str(error))
        return _Job(item, None, picture, region)

    @torch.inference_mode()
    def _complete(self, batch: list[_Job]) -> list[_Job]:
        """Find the regions where they are not given, then complete the faces that are masked."""
        ready = [job for job in batch if job.picture is not None]
        if self._finder is not None and ready:
            found = self._finder.find(self._stacked([job.picture for job in ready]), straps=True)
            for job, region in zip(ready, to_uint8(found)[:, 0].cpu().numpy(), strict=True):
                job.region = _scaled(region, job.picture)
        masked = [job for job in ready if self._is_masked(job)]
        for job in ready:
            job.completed = job.picture
        self._counted.update({True: len(masked), False: len(ready) - len(masked)})
        if masked:
            faces = self._stacked([job.picture for job in masked])
            regions = self._stacked([job.region for job in masked])
            pictures = to_uint8(self._generator(faces, regions)).permute(0, 2, 3, 1)
            for job, picture in zip(masked, pictures.contiguous().cpu().numpy(), strict=True):
                job.completed = _laid_in(job.picture, job.region, picture)
        return batch

    def _is_masked(self, job: _Job) -> bool:
        """Decide whether a face is to be completed; a region that was given is believed."""
        return job.coverage >= MASKED_AREA if self._finder is not None else job.coverage > 0

    def _stacked(self, planes: list[Any]) -> Tensor:
        """Return pictures or regions as (B, C, H, W) float32 in [0, 1] of the network's size."""
        height, width = self._size
        fitted = [
            each
            if each.shape[:2] == self._size
            else cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA)
            for each in planes
        ]
        stack = torch.from_numpy(np.stack(fitted)).to(self._device)
        stack = stack[..., None] if stack.ndim == 3 else stack
        return stack.permute(0, 3, 1, 2).float().div_(255)

    def _save(self, job: _Job) -> Record:
        record, folder, options = job.item.record, self._options.output, self._options
        source = source_name(job.item)
        if job.completed is None or job.picture is None or job.region is None:
            return replace(record.skipped(job.reason or "nothing drawn"), source=source)
        path = f"{record.key}.{options.image_format}"
        masked = self._is_masked(job)
        block: dict[str, Any] = {
            "model": options.model,
            "masked": masked,
            "coverage": round(job.coverage, 4),
            "from": options.region,
        }
        write_image(folder / path, job.completed)
        if options.save_region:
            block["region"] = f"{REGION_FOLDER}/{record.key}.png"
            write_image(folder / block["region"], job.region)
        blocks = {**_without_regions(record.blocks), "inpaint": block}
        return replace(record, path=path, source=source, blocks=blocks)


def _pixels(job: _Job) -> int:
    return 0 if job.picture is None else job.item.pixels


def _scaled(region: NDArray[np.uint8], picture: Any) -> NDArray[np.uint8]:
    """Return a region in the size of its picture."""
    height, width = picture.shape[:2]
    if region.shape == (height, width):
        return region
    scaled = cv2.resize(region, (width, height), interpolation=cv2.INTER_LINEAR)
    return scaled.astype(np.uint8, copy=False)


def _laid_in(picture: Any, region: Any, completed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a completed face in the size of its picture, which is kept where nothing changed."""
    height, width = picture.shape[:2]
    if completed.shape[:2] == (height, width):
        return completed
    larger = cv2.resize(completed, (width, height), interpolation=cv2.INTER_CUBIC)
    reach = 2 * round(_RIM * width / completed.shape[1] / 2) + 1
    grown = cv2.dilate(region, np.ones((reach, reach), np.uint8))
    hole = np.asarray(cv2.blur(grown, (reach, reach)), np.float64)[..., None] / 255
    return (picture + (np.asarray(larger, np.float64) - picture) * hole + 0.5).astype(np.uint8)


def _without_regions(blocks: dict[str, Any]) -> dict[str, Any]:
    """Drop the names of region files, which lie in the folder of an earlier stage."""
    return {
        stage: {k: v for k, v in block.items() if k not in ("region", "region_exact")}
        if isinstance(block, dict)
        else block
        for stage, block in blocks.items()
    }
