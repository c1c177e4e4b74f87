"""Measure a generator while it trains: on faces held out, all of them masked."""

import copy
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.renderer import to_uint8
from mfrkit.methods.batch import FaceBatch
from mfrkit.models.completion import Completion
from mfrkit.models.features import FaceFeatures
from mfrkit.stages.contact_sheet import Cell, contact_sheet
from mfrkit.stages.likeness import Likeness
from mfrkit.stages.train_data import Batches, RawBatch

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
