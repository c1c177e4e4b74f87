"""Measure a region predictor while it trains: on kinds of mask it learns from, others, and none."""

import copy
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.catalog import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.metrics.overlap import intersection_over_union
from mfrkit.models.region import MASKED_AREA, RegionPredictor, covered_share
from mfrkit.stages.flow import batched
from mfrkit.stages.held_faces import read_faces, stack_crops, wear_masks
from mfrkit.stages.train_faces import Faces

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
