"""The work of `embed`: decode, compute, and keep each vector with its input."""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.config import RunOptions
from mfrkit.errors import reason_of
from mfrkit.io.embeddings import Rows
from mfrkit.io.item import Item
from mfrkit.io.manifest import worn_mask
from mfrkit.models.cards import Feeding
from mfrkit.models.device import resolve_device
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.region import is_masked, load_region
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.stages.run import Opened, opened


class EmbeddedInput(NamedTuple):
    """One input at the end of its way: its vector of unit norm, or the reason why there is none.

    Attributes:
        vector: (D,) float32.
        norm: length before normalisation.
        masked: whether the face is found masked; None where nobody looked.
    """

    item: Item
    vector: NDArray[np.float32] | None
    norm: float
    reason: str
    masked: bool | None


def load_model(model: str, device: str, feeding: Feeding | None = None) -> Recogniser:
    """Load a recogniser to a device named as on the command line.

    Raises:
        InputError: no such model or device, or a model for another task.
        WeightsError: a model file is damaged.
    """
    return load_recogniser(model, resolve_device(device), feeding)


class EmbedWorker:
    """Turns inputs into vectors, in input order; to be closed after use.

    Args:
        recogniser: on the device it runs on.
        mask_model: region predictor that decides which faces are masked; None looks at none.
        flip: average each face with its mirror image.
        run: how the run is sized.

    Raises:
        InputError: no such predictor, or a model for another task.
        WeightsError: its file is damaged.
    """

    def __init__(
        self, recogniser: Recogniser, mask_model: str | None, *, flip: bool, run: RunOptions
    ) -> None:
        device = recogniser.mean.device
        self._finder = None if mask_model is None else load_region(mask_model, device)
        self._run = run
        self._size = recogniser.card.input_size
        self._engine = EmbedEngine(recogniser, flip=flip, workers=run.threads)
        self.dim = recogniser.card.embedding_dim or 0

    def close(self) -> None:
        """End the engine's threads."""
        self._engine.close()

    def __call__(self, items: Iterable[Item]) -> Iterator[EmbeddedInput]:
        """Yield what each input gave."""
        load = partial(_load, size=self._size)
        crops = ordered_map(load, items, workers=self._run.threads, weight=lambda item: item.pixels)
        under_way: deque[tuple[list[Opened], list[bool | None]]] = deque()

        def arrays() -> Iterator[NDArray[np.uint8]]:
            for batch in batched(crops, self._run.batch_size):
                found = [crop.pixels for crop in batch if crop.pixels is not None]
                pixels = np.stack(found) if found else np.empty((0, 1, 1, 3), np.uint8)
                under_way.append((batch, self._masked(pixels)))
                yield pixels

        for vectors, norms in self._engine.map(arrays()):
            batch, masked = under_way.popleft()
            rows = iter(zip(vectors, norms, masked, strict=True))
            for crop in batch:
                vector, norm, worn = (None, 0.0, None) if crop.pixels is None else next(rows)
                yield EmbeddedInput(crop.item, vector, float(norm), crop.reason, worn)

    def _masked(self, pixels: NDArray[np.uint8]) -> list[bool | None]:
        """Decide which of the crops (B, H, W, 3) are masked."""
        if self._finder is None or not len(pixels):
            return [None] * len(pixels)
        faces = torch.from_numpy(pixels).to(self._finder.mean.device)
        region = self._finder.find(faces.permute(0, 3, 1, 2).float() / 255)
        decisions: list[bool | None] = is_masked(region).tolist()
        return decisions


def _load(item: Item, size: tuple[int, int] | None) -> Opened:
    crop = opened(item)
    if crop.pixels is None or crop.pixels.shape[:2] == size:
        return crop
    height, width = crop.pixels.shape[:2]
    return Opened(item, None, f"not a {size} crop: {width}x{height}, run mfrkit align first")


def give_up(item: Item, error: Exception) -> EmbeddedInput:
    """Return the result of an input that the worker failed on."""
    return EmbeddedInput(item, None, 0.0, reason_of(error), None)


def to_rows(piece: list[EmbeddedInput], dim: int) -> Rows:
    """Arrange consecutive results, whose vectors have `dim` values, as rows and skipped inputs."""
    kept = [each for each in piece if each.vector is not None]
    lost = [each for each in piece if each.vector is None]
    masks = [_mask_of(each) for each in kept]
    return Rows(
        embeddings=np.array([each.vector for each in kept], np.float32).reshape(-1, dim),
        keys=[each.item.record.key for each in kept],
        identities=[each.item.record.identity or "" for each in kept],
        norms=np.array([each.norm for each in kept], np.float32),
        masked=np.array([masked for masked, _ in masks], np.int8),
        mask_type=[kind for _, kind in masks],
        positions=np.array([each.item.position for each in kept], np.int64),
        skipped_keys=[each.item.record.key for each in lost],
        skipped_reasons=[each.reason for each in lost],
        skipped_positions=np.array([each.item.position for each in lost], np.int64),
    )


def _mask_of(result: EmbeddedInput) -> tuple[int, str]:
    """Return whether the face wears a mask (-1 unknown, 0, 1) and which kind, seen before said."""
    block = worn_mask(result.item.record)
    said, kind = -1, ""
    if block is not None:
        kind = str(block.get("type", ""))
        said, kind = (0, "") if kind == "none" else (1, kind)
    return (said if result.masked is None else int(result.masked)), kind
