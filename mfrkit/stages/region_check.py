"""Measure a region predictor while it trains: on kinds of mask it learns from, others, and none."""

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import ImageError, InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.sampling import sample_spec
from mfrkit.metrics.overlap import intersection_over_union
from mfrkit.models.region import RegionPredictor, covered_share, is_masked
from mfrkit.stages.flow import batched
from mfrkit.stages.train_data import crop_points, read_crop
from mfrkit.stages.train_faces import Faces

_BATCH = 32
_SEED = 7  # of the masks: the same in every check of every run


class _Face(NamedTuple):
    """One face: its key, (H, W, 3) uint8 RGB, and (5, 2) float32 points."""

    key: str
    crop: NDArray[np.uint8]
    points: NDArray[np.float32]


class RegionCheck:
    """Measure copies of a predictor; the predictor itself is not touched.

    Args:
        faces: held out of the training; unreadable ones are left out.
        size: (height, width) of their crops.
        seen: masks like those of the training.
        unseen: other masks.
        device: everything computes on.

    Raises:
        InputError: not one face can be read.
    """

    def __init__(
        self,
        faces: Faces,
        *,
        size: tuple[int, int],
        seen: MaskOptions,
        unseen: MaskOptions,
        device: torch.device,
    ) -> None:
        self._faces = _read(faces, size)
        self._masks = {"seen": seen, "unseen": unseen}
        self._device = device
        self._renderer = MaskRenderer().to(device)

    @torch.inference_mode()
    def __call__(self, student: RegionPredictor, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure.

        Args:
            student: its architecture and card.
            weights: what to measure it with, as its `state_dict`.

        Returns:
            As shares, each with `check_` before it: mean `iou` and `missed` (faces covered enough
            to be called masked, and not) for `seen` and `unseen` kinds; `false_alarm` (unmasked
            faces called masked) and `clean_area` (what is called covered on them); `error`, the
            mean of the lost IoU of both and the false alarms.
        """
        network = copy.deepcopy(student).requires_grad_(False).eval()
        network.load_state_dict(dict(weights))
        found: dict[str, list[NDArray[np.float64]]] = {}
        for faces in batched(self._faces, _BATCH):
            crops, points = self._stacked(faces)
            clean = network(crops)
            _note(found, "false_alarm", is_masked(clean))
            _note(found, "clean_area", covered_share(clean))
            for name, masks in self._masks.items():
                specs = [sample_spec(_SEED, face.key, masks) for face in faces]
                drawn = self._renderer(crops, points, specs)
                predicted = network(drawn.masked)
                overlap = intersection_over_union(_covered(predicted), _covered(drawn.region))
                found.setdefault(f"{name}_iou", []).append(overlap)
                _note(found, f"{name}_missed", ~is_masked(predicted)[is_masked(drawn.region)])
        figures = {name: _mean(np.concatenate(values)) for name, values in found.items()}
        lost = 2 - figures["seen_iou"] - figures["unseen_iou"]
        figures["error"] = (lost + figures["false_alarm"]) / 3
        return {f"check_{name}": value for name, value in figures.items()}

    def _stacked(self, faces: Sequence[_Face]) -> tuple[Tensor, Tensor]:
        crops = torch.from_numpy(np.stack([face.crop for face in faces])).to(self._device)
        points = torch.from_numpy(np.stack([face.points for face in faces]))
        return crops.permute(0, 3, 1, 2).float() / 255, points.to(self._device)


def _read(faces: Faces, size: tuple[int, int]) -> list[_Face]:
    """Read the faces that can be read."""
    found: list[_Face] = []
    reason = "there are none"
    for face in faces:
        try:
            crop = read_crop(face.path, size)
            points = crop_points(face.record, crop.shape)
        except ImageError as error:
            reason = f"{face.path}: {error}"
            continue
        found.append(_Face(face.record.key, crop, points))
    if not found:
        raise InputError(f"none of the {len(faces)} crops to check on is usable: {reason}")
    return found


def _note(found: dict[str, list[NDArray[np.float64]]], name: str, values: Tensor) -> None:
    found.setdefault(name, []).append(values.double().cpu().numpy())


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _covered(region: Tensor) -> NDArray[np.bool_]:
    return (region[:, 0] > 0.5).cpu().numpy()
