"""Measure a network while it trains: a student, a generator, a region predictor.

On the pairs of a list, or on faces held out: plain, and under masks that are drawn the same each
time. Pairs are told apart by error rates; completed faces compared with the true ones in pixels and
by a recogniser; regions by how well they cover the true ones. The network itself is not touched: a
copy takes the weights.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import tee
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.io.pairs import read_pairs
from mfrkit.io.source import open_source
from mfrkit.losses.image import feature_distance, identity_distance
from mfrkit.masks.kinds import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, Rendered, to_uint8
from mfrkit.masks.spec import sample_spec
from mfrkit.methods.base import FaceBatch
from mfrkit.metrics.pictures import intersection_over_union, psnr_inside, ssim_inside
from mfrkit.metrics.verification import Verification, verify
from mfrkit.models.completion import Completion
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.recogniser import FaceFeatures, Recogniser
from mfrkit.models.region import MASKED_AREA, RegionPredictor, covered_share
from mfrkit.pages.contact_sheet import Cell, contact_sheet
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.training.crops import Faces, Read, TrainFace, read_crop, read_each
from mfrkit.training.data import Batches, RawBatch

_BATCH = 32
CHECK_SEED = 7  # of masks and regions: the same in every check of every run
_SHOWN = 8
Network = TypeVar("Network", bound=nn.Module)


def copied(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """Return a copy of a network with other weights."""
    copied = copy.deepcopy(network).requires_grad_(False).eval()
    copied.load_state_dict(dict(weights))
    return copied


class HeldFace(NamedTuple):
    """One face: its key, (H, W, 3) uint8 RGB, and (5, 2) float32 points."""

    key: str
    crop: NDArray[np.uint8]
    points: NDArray[np.float32]


def read_faces(faces: Faces, size: tuple[int, int], read: Read | None = None) -> list[HeldFace]:
    """Read crops of a given (height, width), or with `read`; unreadable ones are left out.

    Raises:
        InputError: not one can be read.
    """
    shown = list(faces)
    kept, crops, broken = read_each(shown, read or partial(read_crop, size=size))
    if not kept:
        reason = broken[-1] if broken else "there are none"
        raise InputError(f"none of the {len(faces)} crops to check on is usable: {reason}")
    return [
        HeldFace(shown[place].record.key, crop.pixels, crop.place.points)
        for place, crop in zip(kept, crops, strict=True)
    ]


def stack_crops(faces: Sequence[HeldFace], device: torch.device) -> Tensor:
    """Return faces of one size as (B, 3, H, W) float32 RGB in [0, 1]."""
    crops = torch.from_numpy(np.stack([face.crop for face in faces])).to(device)
    return crops.permute(0, 3, 1, 2).float() / 255


def wear_masks(
    renderer: MaskRenderer, faces: Sequence[HeldFace], crops: Tensor, masks: MaskOptions
) -> Rendered:
    """Draw a mask on each face, on `crops` from `stack_crops`; which one follows from its key."""
    points = torch.from_numpy(np.stack([face.points for face in faces])).to(crops.device)
    return renderer(crops, points, [sample_spec(CHECK_SEED, face.key, masks) for face in faces])


class PairCheck:
    """Score the pairs of a list with a student, without masks and with masked probes.

    Args:
        pairs: the list.
        crops: folder or manifest with the crops it names.
        masks: what the probes wear; every one of them does.
        workers: threads.
        renderer: draws the masks; None for one without masks of the user's own.

    Raises:
        InputError: the list has pairs of one kind only, or names crops that are not there; a check
            during training is no benchmark, so take them off the list.
    """

    def __init__(
        self,
        pairs: Path,
        crops: str,
        *,
        masks: MaskOptions,
        workers: int,
        renderer: MaskRenderer | None = None,
    ) -> None:
        self._pairs = read_pairs(pairs)
        if self._pairs.same.all() or not self._pairs.same.any():
            kind = "two people" if self._pairs.same.all() else "one person"
            raise InputError(f"{pairs}: has no pairs of {kind}; a check needs both kinds")
        self._masks, self._workers = masks, workers
        self._renderer = renderer or MaskRenderer()
        wanted = dict.fromkeys(self._pairs.a + self._pairs.b)
        self._faces = {
            item.record.key: TrainFace(item.path, item.record, -1)
            for item in open_source(crops)
            if item.path is not None and item.record.key in wanted
        }
        missing = [key for key in wanted if key not in self._faces]
        if missing:
            raise InputError(
                f"{crops}: lacks {len(missing)} of the {len(wanted)} crops of {pairs}: "
                f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
            )

    def __call__(self, student: Recogniser, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure a student with these weights.

        Returns:
            As shares, each with `check_` before it: `error`, the mean of both equal error rates,
            and EER, accuracy and FNMR at FMR 0.1 % of both conditions; no accuracy where the list
            has but one fold.
        """
        references = list(dict.fromkeys(self._pairs.a + self._pairs.b))
        probes = list(dict.fromkeys(self._pairs.b))
        with EmbedEngine(copied(student, weights), workers=self._workers) as engine:
            plain = self._embed(engine, references, masked=False)
            masked = self._embed(engine, probes, masked=True)
        results = {"unmasked": self._verify(plain, plain), "masked": self._verify(plain, masked)}
        figures = {"error": float(np.mean([r.eer.rate for r in results.values()]))}
        for name, result in results.items():
            figures[f"{name}_eer"] = result.eer.rate
            figures[f"{name}_accuracy"] = result.accuracy.mean
            figures[f"{name}_fmr1000"] = result.fmr1000.fnmr
        return {f"check_{n}": value for n, value in figures.items() if math.isfinite(value)}

    def _verify(
        self, a: dict[str, NDArray[np.float32]], b: dict[str, NDArray[np.float32]]
    ) -> Verification:
        pairs = self._pairs
        scores = [float(a[one] @ b[two]) for one, two in zip(pairs.a, pairs.b, strict=True)]
        return verify(np.clip(scores, -1, 1), pairs.same, pairs.fold)

    def _embed(
        self, engine: EmbedEngine, keys: list[str], *, masked: bool
    ) -> dict[str, NDArray[np.float32]]:
        load = partial(self._load, size=engine.card.input_size or (112, 112), masked=masked)
        for_crops, for_names = tee(batched(keys, _BATCH))
        crops = ordered_map(load, for_crops, workers=self._workers)
        vectors: dict[str, NDArray[np.float32]] = {}
        for names, result in zip(for_names, engine.map(crops), strict=True):
            vectors.update(zip(names, result.vectors, strict=True))
        return vectors

    @torch.inference_mode()
    def _load(self, keys: list[str], size: tuple[int, int], *, masked: bool) -> NDArray[np.uint8]:
        read = [(key, read_crop(self._faces[key], size)) for key in keys]
        faces = [HeldFace(key, crop.pixels, crop.place.points) for key, crop in read]
        if not masked:
            return np.stack([face.crop for face in faces])
        crops = stack_crops(faces, torch.device("cpu"))
        drawn = wear_masks(self._renderer, faces, crops, self._masks)
        return to_uint8(drawn.masked).permute(0, 2, 3, 1).contiguous().numpy()


class Likeness:
    """Compare faces with the true ones where those were covered.

    Args:
        looker: a recogniser, which stays as it is.
    """

    def __init__(self, looker: FaceFeatures) -> None:
        self._looker = looker

    @torch.no_grad()
    def __call__(self, made: Tensor, true: Tensor, hole: Tensor) -> dict[str, Tensor]:
        """Measure (B, 3, H, W) faces inside a (B, 1, H, W) hole, all float in [0, 1].

        Returns:
            (B,) each: `error`, the distance between the recogniser's feature maps; `psnr` in dB and
            `ssim`, both inside the hole; `identity`, the cosine between its embeddings.
        """
        seen, wanted = self._looker(made), self._looker(true)
        return {
            "error": feature_distance(seen.maps, wanted.maps),
            "psnr": psnr_inside(made, true, hole),
            "ssim": ssim_inside(made, true, hole),
            "identity": 1 - identity_distance(seen.embedding, wanted.embedding),
        }


class CompletionCheck:
    """Complete held-out faces.

    Args:
        generator: its architecture.
        held: the faces, and the masks they wear: the same at every check.
        show: turns them into views, on the device.
        looker: a recogniser, which stays as it is.
    """

    def __init__(
        self,
        generator: Completion,
        held: Batches,
        show: Callable[[RawBatch], FaceBatch],
        looker: FaceFeatures,
    ) -> None:
        self._network = copy.deepcopy(generator).requires_grad_(False).eval()
        self._held, self._show = held, show
        self._likeness = Likeness(looker)

    @torch.no_grad()
    def __call__(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure a generator with these weights.

        Returns:
            Means over the faces, as `Likeness` has them and each with `check_` before it, and
            `identity_masked`, the cosine between masked and true faces.
        """
        self._network.load_state_dict(dict(weights))
        rows: dict[str, list[Tensor]] = {}
        for batch in self._batches():
            made, hole = self._complete(batch), self._network.hole(batch.region)
            row = self._likeness(made, batch.clean, hole)
            masked = self._likeness(batch.masked, batch.clean, hole)
            row["identity_masked"] = masked["identity"]
            for name, values in row.items():
                rows.setdefault(name, []).append(values)
        return {f"check_{name}": float(torch.cat(parts).mean()) for name, parts in rows.items()}

    @torch.no_grad()
    def draw(self, weights: Mapping[str, Tensor]) -> NDArray[np.uint8]:
        """Return a sheet of the first faces: masked, completed, true; (H, W, 3) uint8 RGB."""
        self._network.load_state_dict(dict(weights))
        batch = next(self._batches())
        columns = [batch.masked, self._complete(batch), batch.clean]
        cells = [
            Cell(to_uint8(faces[place]).permute(1, 2, 0).cpu().contiguous().numpy(), caption)
            for faces, caption in zip(columns, ("masked", "completed", "true"), strict=True)
            for place in range(min(_SHOWN, len(batch)))
        ]
        return contact_sheet(cells, columns=min(_SHOWN, len(batch)), side=batch.clean.shape[3])

    def _complete(self, batch: FaceBatch) -> Tensor:
        made: Tensor = self._network(batch.masked, batch.region)
        return made

    def _batches(self) -> Iterator[FaceBatch]:
        for step in range(self._held.steps_per_epoch):
            yield self._show(self._held.load(step))


class MaskCheck:
    """Show networks the same faces, bare and under the same masks.

    Args:
        faces: held out of the training; unreadable ones are left out.
        size: (height, width) of their crops.
        masks: sorts of mask by name.
        device: everything computes on.
        renderer: draws the masks; None for one without masks of the user's own.
        read: gets a face's crop; `read_crop` if None.

    Raises:
        InputError: not one face can be read.
    """

    def __init__(
        self,
        faces: Faces,
        *,
        size: tuple[int, int],
        masks: Mapping[str, MaskOptions],
        device: torch.device,
        renderer: MaskRenderer | None = None,
        read: Read | None = None,
    ) -> None:
        self._faces = read_faces(faces, size, read)
        self._masks, self._device = masks, device
        self._renderer = (renderer or MaskRenderer()).to(device)

    def shown(self) -> Iterator[dict[str, Rendered]]:
        """Yield some faces at a time, as they are shown by sort of mask; first bare, as `none`."""
        for faces in batched(self._faces, _BATCH):
            crops = stack_crops(faces, self._device)
            yield {BARE: Rendered(crops, torch.zeros_like(crops[:, :1]))} | {
                name: wear_masks(self._renderer, faces, crops, masks)
                for name, masks in self._masks.items()
            }


class Looks(NamedTuple):
    """What a predictor says of N faces under one sort of mask.

    Attributes:
        iou: (N,) float64 in [0, 1], overlap of the predicted and the true region.
        found: (N,) float32 in [0, 1], share of the crop that is called covered.
        true: (N,) float32 in [0, 1], share that is covered.
    """

    iou: NDArray[np.float64]
    found: NDArray[np.float32]
    true: NDArray[np.float32]

    def called(self, area: float) -> float:
        """Return the share of the faces called masked if it takes `area` of the crop."""
        return float((self.found >= area).mean())

    def missed(self, area: float) -> float:
        """Return the share of the faces with at least `area` covered that are not called masked."""
        masked = self.true >= area
        return float((self.found[masked] < area).mean()) if masked.any() else 0.0


class RegionCheck(MaskCheck):
    """Measure region predictors."""

    def __call__(self, student: RegionPredictor, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure a predictor with these weights.

        Returns:
            As shares, each with `check_` before it: for every sort of mask its mean `iou` and
            `missed` (faces covered enough to be called masked, and not), after its name;
            `false_alarm` (unmasked faces called masked) and `clean_area` (what is called covered on
            them); `error`, the mean of the IoU lost on each sort and the false alarms.
        """
        looks = self.look(copied(student, weights))
        bare = looks.pop(BARE)
        figures = {
            "false_alarm": bare.called(MASKED_AREA),
            "clean_area": float(bare.found.mean(dtype=np.float64)),
        }
        for name, seen in looks.items():
            figures[f"{name}_iou"] = float(seen.iou.mean())
            figures[f"{name}_missed"] = seen.missed(MASKED_AREA)
        lost = [1 - seen.iou.mean() for seen in looks.values()]
        figures["error"] = float(np.mean([*lost, figures["false_alarm"]]))
        return {f"check_{name}": value for name, value in figures.items()}

    @torch.inference_mode()
    def look(self, predictor: RegionPredictor) -> dict[str, Looks]:
        """Return what a predictor in eval mode says under each sort of mask; bare is `none`."""
        parts: dict[str, list[Looks]] = {}
        for shown in self.shown():
            for name, drawn in shown.items():
                parts.setdefault(name, []).append(_compare(predictor(drawn.masked), drawn.region))
        return {
            name: Looks(*map(np.concatenate, zip(*each, strict=True)))
            for name, each in parts.items()
        }


def _compare(predicted: Tensor, true: Tensor) -> Looks:
    overlap = intersection_over_union(_covered(predicted), _covered(true))
    return Looks(overlap, covered_share(predicted).cpu().numpy(), covered_share(true).cpu().numpy())


def _covered(region: Tensor) -> NDArray[np.bool_]:
    return (region[:, 0] > 0.5).cpu().numpy()
