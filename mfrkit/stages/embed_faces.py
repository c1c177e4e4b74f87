"""The work of `embed`: decode, compute, and keep each vector with its input."""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.config import RunOptions
from mfrkit.errors import ImageError
from mfrkit.io.embedding_rows import Rows
from mfrkit.io.images import read_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.models.device import resolve_device
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.registry import load_recogniser
from mfrkit.stages.flow import batched, ordered_map


class _Crop(NamedTuple):
    """One input on its way: its pixels, or why there are none."""

    item: Item
    pixels: NDArray[np.uint8] | None
    reason: str = ""


class Embedded(NamedTuple):
    """One input at the end of its way.

    Attributes:
        item: the input.
        vector: (D,) float32 of unit norm, or None.
        norm: length before normalisation.
        reason: why there is no vector.
    """

    item: Item
    vector: NDArray[np.float32] | None
    norm: float
    reason: str


def load_model(model: str, device: str) -> Recogniser:
    """Load a recogniser to a device named as on the command line.

    Raises:
        InputError: no such model or device.
        WeightsError: the model file is damaged.
    """
    return load_recogniser(model, resolve_device(device))


class EmbedWorker:
    """Turns inputs into vectors, in input order; to be closed after use.

    Args:
        recogniser: on the device it runs on.
        flip: average each face with its mirror image.
        run: how the run is sized.
    """

    def __init__(self, recogniser: Recogniser, *, flip: bool, run: RunOptions) -> None:
        self._run = run
        self._size = recogniser.card.input_size
        self._engine = EmbedEngine(recogniser, flip=flip, workers=run.workers)
        self.dim = recogniser.card.embedding_dim or 0

    def close(self) -> None:
        """End the engine's threads."""
        self._engine.close()

    def __call__(self, items: Iterable[Item]) -> Iterator[Embedded]:
        """Yield what each input gave."""
        load = partial(_load, size=self._size)
        crops = ordered_map(load, items, workers=self._run.workers)
        under_way: deque[list[_Crop]] = deque()

        def arrays() -> Iterator[NDArray[np.uint8]]:
            for batch in batched(crops, self._run.batch_size):
                under_way.append(batch)
                pixels = [crop.pixels for crop in batch if crop.pixels is not None]
                yield np.stack(pixels) if pixels else np.empty((0, 1, 1, 3), np.uint8)

        for vectors, norms in self._engine.map(arrays()):
            rows = iter(zip(vectors, norms, strict=True))
            for crop in under_way.popleft():
                vector, norm = (None, 0.0) if crop.pixels is None else next(rows)
                yield Embedded(crop.item, vector, float(norm), crop.reason)


def _load(item: Item, size: tuple[int, int] | None) -> _Crop:
    if item.path is None:
        return _Crop(item, None, item.record.reason or "skipped earlier")
    try:
        pixels = read_image(item.path)
    except ImageError as error:
        return _Crop(item, None, str(error))
    if pixels.shape[:2] != size:
        height, width = pixels.shape[:2]
        return _Crop(item, None, f"not a {size} crop: {width}x{height}, run mfrkit align first")
    return _Crop(item, pixels)


def to_rows(piece: list[Embedded], dim: int) -> Rows:
    """Arrange results as rows and skipped inputs.

    Args:
        piece: consecutive results.
        dim: D of their vectors.

    Returns:
        The rows, in the order of the results.
    """
    kept = [each for each in piece if each.vector is not None]
    lost = [each for each in piece if each.vector is None]
    masks = [_mask_of(each.item.record) for each in kept]
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


def _mask_of(record: Record) -> tuple[int, str]:
    """Return whether the face wears a mask (-1 unknown, 0, 1) and which kind."""
    block = record.blocks.get("mask")
    if not isinstance(block, dict):
        return -1, ""
    kind = str(block.get("type", ""))
    return (0, "") if kind == "none" else (1, kind)
