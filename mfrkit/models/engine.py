"""Embed many faces fast: 8-bit crops in, unit vectors and norms out, in input order.

On a processor several threads each compute whole small batches on one core: the convolutions of a
face recogniser are too small to be worth splitting. On a GPU one thread feeds whole batches, and
goes on to the next while the card computes; who takes a result waits for it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import ShapeError, WeightsError
from mfrkit.models.cards import ModelCard
from mfrkit.models.combined import CombinedRecogniser, CompletingRecogniser, SideBySide
from mfrkit.models.device import send, single_core_pool
from mfrkit.models.onednn import (
    VIEWS,
    BlockedMobileFaceNet,
    FusedEdgeFace,
    is_fusible,
    is_supported,
)
from mfrkit.models.recogniser import Recogniser, embed_faces

# Network inputs per call on a processor, unless the network has its own view: enough to hide the
# cost of the calls, few enough that the widest feature maps stay in the cache.
_CPU_VIEWS = 8


class EmbeddedFaces(NamedTuple):
    """Some embeddings: unit `vectors` (B, D) float32, and the `norms` (B,) they had before."""

    vectors: NDArray[np.float32]
    norms: NDArray[np.float32]


class EmbedEngine:
    """Run a recogniser on batches of crops; use as a context manager.

    A face's vector does not depend on the batch it came in, nor on the number of threads.

    Args:
        recogniser: runs on the device it is on.
        flip: average each face with its mirror image.
        workers: threads on a processor; None takes what torch would. Ignored on a GPU.

    Example:
        >>> from mfrkit.models.loading import load_recogniser
        >>> crops = np.zeros((2, 112, 112, 3), np.uint8)
        >>> with EmbedEngine(load_recogniser("arcface"), workers=1) as engine:
        ...     [embedded.vectors.shape for embedded in engine.map([crops, crops[:1]])]
        [(2, 192), (1, 192)]
    """

    def __init__(
        self, recogniser: Recogniser, *, flip: bool = True, workers: int | None = None
    ) -> None:
        self.card: ModelCard = recogniser.card
        self.device = recogniser.mean.device
        self.flip = flip
        self._on_cpu = self.device.type == "cpu"
        self._recogniser = _fastest(recogniser, self._on_cpu).to(self.device).eval()
        self._views = _views(self._recogniser)
        self._workers = (workers or torch.get_num_threads()) if self._on_cpu else 1
        self._pool = single_core_pool(self._workers) if self._on_cpu else ThreadPoolExecutor(1)

    def __enter__(self) -> "EmbedEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the batch being computed, forget those that wait, and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __call__(self, faces: NDArray[np.uint8]) -> EmbeddedFaces:
        """Embed one batch, (B, H, W, 3) uint8, RGB; results in its order.

        Raises:
            ShapeError: not uint8 (B, H, W, 3) of the recogniser's input size.
            WeightsError: the network's output is not finite.
        """
        return self._join(self._submit(faces))

    def map(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[EmbeddedFaces]:
        """Embed batches, as by a call, while the caller makes the next ones and uses the last ones.

        Takes only a few batches ahead of what it has given back, so memory stays bounded.
        """
        waiting: deque[list[Future[Tensor]]] = deque()
        for batch in batches:
            waiting.append(self._submit(batch))
            # Two pieces for each thread keep all busy while the caller is away.
            while len(waiting) > 1 and sum(map(len, waiting)) > 2 * self._workers:
                yield self._join(waiting.popleft())
        while waiting:
            yield self._join(waiting.popleft())

    def _submit(self, faces: NDArray[np.uint8]) -> list[Future[Tensor]]:
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[3] != 3:
            raise ShapeError(f"expected crops uint8 (B, H, W, 3), got {faces.dtype} {faces.shape}")
        step = max(1, len(faces))
        if self._on_cpu:  # no thread shall wait for a last large piece
            step = min(self._views // (2 if self.flip else 1), -(-step // self._workers))
        starts = range(0, len(faces), step)
        return [self._pool.submit(self._run, faces[at : at + step]) for at in starts]

    @torch.inference_mode()
    def _run(self, faces: NDArray[np.uint8]) -> Tensor:
        crops = send(torch.from_numpy(np.ascontiguousarray(faces)), self.device)
        x = crops.permute(0, 3, 1, 2).float().div_(255)
        return embed_faces(self._recogniser, x, flip=self.flip).float()

    def _join(self, pieces: list[Future[Tensor]]) -> EmbeddedFaces:
        if not pieces:
            width = self.card.embedding_dim or 0
            return EmbeddedFaces(np.empty((0, width), np.float32), np.empty(0, np.float32))
        features = torch.cat([piece.result() for piece in pieces]).cpu().numpy()
        norms = np.linalg.norm(features, axis=1)
        if not np.isfinite(norms).all() or not norms.all():
            raise WeightsError(
                f"model {self.card.name}: output is zero or not finite; its weights are unusable"
            )
        return EmbeddedFaces(features / norms[:, None], norms)


def _fastest(recogniser: Recogniser, on_cpu: bool) -> Recogniser:
    network: nn.Module = recogniser.network
    if on_cpu and (stand_in := fused_or_blocked(network)) is not None:
        return Recogniser(stand_in, recogniser.card)
    # Channels last is how both oneDNN and cuDNN like their pictures. The values stay the same, so
    # the caller's network may change its layout with ours.
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(network, CompletingRecogniser):
        inner = _fastest(network.recogniser, on_cpu)
        network = CompletingRecogniser(network.region, network.generator, inner)
    if isinstance(network, CombinedRecogniser):
        unmasked, *masked = (
            _fastest(each, on_cpu) for each in (network.unmasked, *network.recognisers)
        )
        network = CombinedRecogniser(network.region, unmasked, masked)
    if isinstance(network, SideBySide):
        parts = [_fastest(each, on_cpu) for each in network.recognisers]
        network = SideBySide(parts, network.shares)
    return Recogniser(network, recogniser.card)


def fused_or_blocked(network: nn.Module) -> nn.Module | None:
    """Return a network that computes the same faster on this machine's processor, or None."""
    if is_fusible(network):
        return FusedEdgeFace(network)
    return BlockedMobileFaceNet(network) if is_supported(network) else None


def _views(recogniser: Recogniser) -> int:
    fused = any(isinstance(each, FusedEdgeFace) for each in recogniser.modules())
    return VIEWS if fused else _CPU_VIEWS
