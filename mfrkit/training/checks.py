"""Measure a generator, a region predictor or the mesh network while it trains.

On faces held out: plain, or under masks that are drawn the same each time. How like their true
selves completed faces are is told in pixels and by a recogniser; regions by how well they cover
the true ones; vertices by how far they are from those of the bare face.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import ImageError, InputError
from mfrkit.faces.mesh import eye_distance, upper_part
from mfrkit.losses.image import feature_distance, identity_distance
from mfrkit.masks.kinds import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, Rendered, to_uint8
from mfrkit.masks.spec import sample_spec
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.landmarks import Teacher, look
from mfrkit.methods.realign import WIDE, Jitter, regions_of
from mfrkit.metrics.pictures import intersection_over_union, psnr_inside, ssim_inside
from mfrkit.models.completion import Completion
from mfrkit.models.detectors import FaceMesh
from mfrkit.models.recogniser import FaceFeatures
from mfrkit.models.region import MASKED_AREA, RegionPredictor, covered_share
from mfrkit.pages.contact_sheet import Cell, contact_sheet
from mfrkit.stages.flow import batched
from mfrkit.training.crops import Faces, read_crop, read_wide
from mfrkit.training.data import Batches, RawBatch, Read


class Likeness:
    """Compare faces with the true ones where those were covered.

    Args:
        looker: a recogniser, which stays as it is.
    """

    def __init__(self, looker: FaceFeatures) -> None:
        self._looker = looker

    @torch.no_grad()
    def __call__(self, made: Tensor, true: Tensor, hole: Tensor) -> dict[str, Tensor]:
        """Measure.

        Args:
            made: (B, 3, H, W) float RGB in [0, 1].
            true: of the same shape.
            hole: (B, 1, H, W) in [0, 1], where the two are compared pixel by pixel.

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


_SEED = 7  # of the masks: the same in every check of every run


class HeldFace(NamedTuple):
    """One face: its key, (H, W, 3) uint8 RGB, and (5, 2) float32 points."""

    key: str
    crop: NDArray[np.uint8]
    points: NDArray[np.float32]


def read_faces(faces: Faces, size: tuple[int, int], read: Read | None = None) -> list[HeldFace]:
    """Read crops; unreadable ones are left out.

    Args:
        faces: to read.
        size: (height, width) they must have.
        read: see `Batches`.

    Raises:
        InputError: not one can be read.
    """
    found: list[HeldFace] = []
    reason = "there are none"
    read = read or partial(read_crop, size=size)
    for face in faces:
        try:
            crop = read(face)
        except ImageError as error:
            reason = f"{face.path}: {error}"
            continue
        found.append(HeldFace(face.record.key, crop.pixels, crop.place.points))
    if not found:
        raise InputError(f"none of the {len(faces)} crops to check on is usable: {reason}")
    return found


def stack_crops(faces: Sequence[HeldFace], device: torch.device) -> Tensor:
    """Return faces of one size as (B, 3, H, W) float32 RGB in [0, 1]."""
    crops = torch.from_numpy(np.stack([face.crop for face in faces])).to(device)
    return crops.permute(0, 3, 1, 2).float() / 255


def wear_masks(
    renderer: MaskRenderer, faces: Sequence[HeldFace], crops: Tensor, masks: MaskOptions
) -> Rendered:
    """Draw a mask on each face; which one follows from its key.

    Args:
        renderer: on the device of the crops.
        faces: B faces.
        crops: their pixels, from `stack_crops`.
        masks: what may be drawn.

    Returns:
        Masked faces and regions.
    """
    points = torch.from_numpy(np.stack([face.points for face in faces])).to(crops.device)
    return renderer(crops, points, [sample_spec(_SEED, face.key, masks) for face in faces])


_SHOWN = 8


class CompletionCheck:
    """Complete held-out faces with a copy of the generator; the generator itself is not touched.

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
        """Measure.

        Args:
            weights: what to measure the generator with, as its `state_dict`.

        Returns:
            Means over the faces: `error`, the distance between feature maps of completed and true
            faces; PSNR in dB and SSIM inside the hole; the cosine between the recogniser's
            embeddings of completed and true faces, and of masked and true ones.
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


_BATCH = 32


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


class RegionCheck:
    """Measure predictors on the same faces under the same masks.

    Args:
        faces: held out of the training; unreadable ones are left out.
        size: (height, width) of their crops.
        masks: sorts of mask by name.
        device: everything computes on.
        renderer: draws the masks; None for one without masks of the user's own.

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
    ) -> None:
        self._faces = read_faces(faces, size)
        self._masks = masks
        self._device = device
        self._renderer = (renderer or MaskRenderer()).to(device)

    def __call__(self, student: RegionPredictor, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure a copy of a predictor; the predictor itself is not touched.

        Args:
            student: its architecture and card.
            weights: what to measure it with, as its `state_dict`.

        Returns:
            As shares, each with `check_` before it: for every sort of mask its mean `iou` and
            `missed` (faces covered enough to be called masked, and not), after its name;
            `false_alarm` (unmasked faces called masked) and `clean_area` (what is called covered on
            them); `error`, the mean of the IoU lost on each sort and the false alarms.
        """
        network = copy.deepcopy(student).requires_grad_(False).eval()
        network.load_state_dict(dict(weights))
        looks = self.look(network)
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
        """Return what a predictor says under each sort of mask, and of bare faces as `none`.

        Args:
            predictor: in eval mode, on the device of the check.
        """
        parts: dict[str, list[Looks]] = {}
        for faces in batched(self._faces, _BATCH):
            crops = stack_crops(faces, self._device)
            shown = {BARE: (crops, torch.zeros_like(crops[:, :1]))}
            for name, masks in self._masks.items():
                drawn = wear_masks(self._renderer, faces, crops, masks)
                shown[name] = drawn.masked, drawn.region
            for name, (pictures, region) in shown.items():
                parts.setdefault(name, []).append(_compare(predictor(pictures), region))
        return {
            name: Looks(*map(np.concatenate, zip(*each, strict=True)))
            for name, each in parts.items()
        }


def _compare(predicted: Tensor, true: Tensor) -> Looks:
    overlap = intersection_over_union(_covered(predicted), _covered(true))
    return Looks(overlap, covered_share(predicted).cpu().numpy(), covered_share(true).cpu().numpy())


def _covered(region: Tensor) -> NDArray[np.bool_]:
    return (region[:, 0] > 0.5).cpu().numpy()


_REGION_SEED = 7  # of the regions: the same in every check of every run


class LandmarkCheck:
    """Measure networks on the same faces, under the same masks, at the same places.

    Args:
        faces: held out of the training; unreadable ones are left out.
        teacher: what it says of the bare faces is taken for true.
        masks: sorts of mask by name.
        jitter: of the detector's regions.
        device: everything computes on.
        renderer: draws the masks; None for one without masks of the user's own.

    Raises:
        InputError: not one face can be read.
    """

    def __init__(
        self,
        faces: Faces,
        *,
        teacher: Teacher,
        masks: Mapping[str, MaskOptions],
        jitter: Jitter,
        device: torch.device,
        renderer: MaskRenderer | None = None,
    ) -> None:
        self._faces = read_faces(faces, (WIDE, WIDE), read_wide)
        self._teacher, self._masks, self._jitter = teacher, masks, jitter
        self._device = device
        self._renderer = (renderer or MaskRenderer()).to(device)

    def __call__(self, student: FaceMesh, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure a copy of a network; the network itself is not touched.

        Args:
            student: the network.
            weights: what to measure it with, as its `state_dict`.

        Returns:
            Mean distances between vertices, as shares of the distance between the eyes, each with
            `check_` before it: `upper` and `hidden` vertices after one look, `upper_twice` and
            `hidden_twice` after two, after the name of every sort of mask, bare faces as `none`;
            `error`, the mean of all `upper`.
        """
        network = copy.deepcopy(student).requires_grad_(False).eval()
        network.load_state_dict(dict(weights))
        figures: dict[str, list[Tensor]] = {}
        for name, errors in self._errors(network):
            figures.setdefault(f"check_{name}", []).append(errors)
        means = {name: float(torch.cat(parts).mean()) for name, parts in figures.items()}
        once = [value for name, value in means.items() if name.endswith("_upper")]
        return {**means, "check_error": sum(once) / len(once)}

    @torch.inference_mode()
    def _errors(self, network: FaceMesh) -> Iterator[tuple[str, Tensor]]:
        """Yield names of figures and (B,) errors."""
        generator = torch.Generator().manual_seed(_REGION_SEED)
        for faces in batched(self._faces, _BATCH):
            wide = stack_crops(faces, self._device)
            true = self._teacher.targets(wide).meshes
            unit = torch.from_numpy(eye_distance(true.cpu().numpy())).to(true)
            around = self._jitter.draw(regions_of(true, self._teacher.usual), generator)
            shown = {BARE: wide} | {
                name: wear_masks(self._renderer, faces, wide, masks).masked
                for name, masks in self._masks.items()
            }
            upper = torch.from_numpy(upper_part(network.mean.cpu().numpy()))
            for name, pictures in shown.items():
                regions = around
                for suffix in ("", "_twice"):
                    meshes, _ = look(network, pictures, regions)
                    apart = torch.linalg.vector_norm((meshes - true)[..., :2], dim=2)
                    apart = apart / unit[:, None]
                    yield f"{name}_upper{suffix}", apart[:, upper].mean(1)
                    yield f"{name}_hidden{suffix}", apart[:, ~upper].mean(1)
                    regions = regions_of(meshes, self._teacher.usual)
