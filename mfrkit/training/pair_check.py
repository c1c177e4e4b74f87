"""Measure a student while it trains: the pairs of a list, without masks and with masked probes."""

import copy
import math
from collections.abc import Iterator, Mapping
from itertools import tee
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import InputError
from mfrkit.io.pairs import read_pairs
from mfrkit.io.source import open_source
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import sample_spec
from mfrkit.metrics.verification import Verification, verify
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.recogniser import Recogniser
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.training.crops import TrainFace, read_crop

_BATCH = 32
_SEED = 7  # of the probes' masks: the same in every check of every run


class PairCheck:
    """Score the pairs of a list with a copy of the student; the student itself is not touched.

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
        found = {
            item.record.key: TrainFace(item.path, item.record, -1)
            for item in open_source(crops)
            if item.path is not None and item.record.key in wanted
        }
        missing = [key for key in wanted if key not in found]
        if missing:
            raise InputError(
                f"{crops}: lacks {len(missing)} of the {len(wanted)} crops of {pairs}: "
                f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
            )
        self._faces = found

    def __call__(self, student: Recogniser, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure.

        Args:
            student: its architecture and card.
            weights: what to measure it with, as its `state_dict`.

        Returns:
            `error`, the mean of both equal error rates, and EER, accuracy and FNMR at FMR 0.1 %
            of both conditions, as shares; no accuracy where the list has but one fold.
        """
        network = copy.deepcopy(student).requires_grad_(False)
        network.load_state_dict(dict(weights))
        references = list(dict.fromkeys(self._pairs.a + self._pairs.b))
        probes = list(dict.fromkeys(self._pairs.b))
        with EmbedEngine(network, workers=self._workers) as engine:
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
        def load(batch: list[str]) -> NDArray[np.uint8]:
            return self._load(batch, engine.card.input_size or (112, 112), masked=masked)

        batches: Iterator[list[str]] = batched(keys, _BATCH)
        for_crops, for_names = tee(batches)
        crops = ordered_map(load, for_crops, workers=self._workers)
        vectors: dict[str, NDArray[np.float32]] = {}
        for names, result in zip(for_names, engine.map(crops), strict=True):
            vectors.update(zip(names, result.vectors, strict=True))
        return vectors

    @torch.inference_mode()
    def _load(self, keys: list[str], size: tuple[int, int], *, masked: bool) -> NDArray[np.uint8]:
        faces = [self._faces[key] for key in keys]
        read = [read_crop(face, size) for face in faces]
        crops = np.stack([crop.pixels for crop in read])
        if not masked:
            return crops
        points = np.stack([crop.place.points for crop in read])
        specs = [sample_spec(_SEED, key, self._masks) for key in keys]
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        drawn = self._renderer(pixels, torch.from_numpy(points), specs)
        return to_uint8(drawn.masked).permute(0, 2, 3, 1).contiguous().numpy()
