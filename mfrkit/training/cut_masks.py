"""Cut the masks out of photos of people who wear them, to be drawn on others."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.config import REGION
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.geometry import ARCFACE_SIZE
from mfrkit.io.files import refuse_existing
from mfrkit.masks.camera import read_camera
from mfrkit.masks.head import place_heads
from mfrkit.masks.worn import CutOut, WornFile, cut_out
from mfrkit.models.device import resolve_device
from mfrkit.models.region import RegionPredictor, load_region
from mfrkit.pages.contact_sheet import Cell, write_contact_sheet
from mfrkit.stages.flow import batched
from mfrkit.stages.mask_faces import MaskFaces
from mfrkit.training.crops import TrainCrop, TrainFace, read_crop, read_each
from mfrkit.training.data import open_train_set
from mfrkit.training.options import CutOptions

_SIZE = (ARCFACE_SIZE, ARCFACE_SIZE)
_SHOWN = 60  # masks of the preview


def cut_masks(options: CutOptions, console: Console) -> WornFile:
    """Cut masks out and write them.

    Raises:
        InputError: sources that cannot be read, or not one mask in them.
    """
    for path in filter(None, (options.output, options.preview)):
        refuse_existing(path, force=options.run.force)
    data = open_train_set(options.data)
    # The same faces every time, from all over the sources.
    order = np.random.default_rng(0).permutation(len(data)).tolist()
    cutter = _Cutter(resolve_device(options.run.device), options.run.threads)
    masks: list[CutOut] = []
    keys: list[str] = []
    cells: list[Cell] = []
    reasons: Counter[str] = Counter()
    with console.progress("cut-masks", len(order)) as progress:
        for places in batched(order, options.run.batch_size):
            for face, crop, found in cutter([data.faces[place] for place in places]):
                if isinstance(found, str):
                    reasons[found] += 1
                elif len(masks) < options.most:
                    masks.append(found)
                    keys.append(face.record.key)
                    if crop is not None and len(masks) <= _SHOWN:
                        cells += [Cell(crop.pixels, face.record.key), _cell(found)]
            progress.update(len(places))
            if len(masks) >= options.most:
                break
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    if not masks:
        raise InputError(f"{', '.join(options.data)}: no mask to cut out; {said}")
    file = WornFile.write(options.output, masks, keys)
    console.info(f"{options.output}: {len(masks)} masks; left out: {said or 'none'}")
    if options.preview is not None:
        write_contact_sheet(options.preview, cells, columns=10, side=ARCFACE_SIZE)
        console.info(f"preview -> {options.preview}")
    return file


Found = tuple[TrainFace, TrainCrop | None, CutOut | str]


class _Cutter:
    """Cuts the masks out of crops."""

    def __init__(self, device: torch.device, workers: int) -> None:
        self._device = device
        self._region: RegionPredictor = load_region(REGION, device)
        self._finder = MaskFaces("yunet", device, mesh=True, workers=workers)

    def __call__(self, faces: Sequence[TrainFace]) -> Iterator[Found]:
        """Yield each face with its crop and mask, or why there is none."""
        kept, crops, _ = read_each(faces, partial(read_crop, size=_SIZE))
        for bad in set(range(len(faces))) - set(kept):
            yield faces[bad], None, "unreadable"
        if not kept:
            return
        pictures = np.stack([crop.pixels for crop in crops])
        regions = self._regions(pictures)
        places = [crop.place for crop in crops]
        blank = [at for at, place in enumerate(places) if not place.meshed]
        meshed = self._finder.in_crops([pictures[at] for at in blank], [places[at] for at in blank])
        for at, place in zip(blank, meshed, strict=True):
            places[at] = place
        for at, (face, place) in enumerate(zip([faces[n] for n in kept], places, strict=True)):
            if not place.meshed:
                yield face, crops[at], "without a sure mesh"
                continue
            pose = place_heads(place.points[None], place.landmarks[None], place.turn[None])
            camera = read_camera(pictures, [at], pose)
            yield face, crops[at], cut_out(pictures[at], regions[at], pose, camera)

    @torch.inference_mode()
    def _regions(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how surely each pixel is covered, (B, H, W)."""
        shown = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float() / 255
        return np.asarray(self._region(shown)[:, 0].cpu().numpy(), np.float32)


def _cell(mask: CutOut) -> Cell:
    """Show a mask flat, what lies outside of it dimmed."""
    shown = mask.color * np.where(mask.edge > 0, 1.0, 0.3)[..., None]
    return Cell((shown * 255).astype(np.uint8))
