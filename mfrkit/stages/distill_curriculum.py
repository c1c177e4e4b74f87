"""A curriculum for masks: few at first, as many as asked for after a share of the run."""

from dataclasses import replace
from typing import Any

from mfrkit.methods.view_draw import draw_view
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.train_data import Batches, RawBatch, TrainSet


class GrowingMasks(Batches):
    """Batches in which the share of masked faces grows in a straight line from 0.

    It follows from the step's number, as all else does. A face that wears a mask keeps it, whatever
    the share: draws of the same seed differ only in who goes without.

    Args:
        data: the crops.
        growth: share of the run after which as many wear masks as `masks` says, in (0, 1].
        fit: how long the run is.
        others: arguments of `Batches`.
    """

    def __init__(self, data: TrainSet, *, growth: float, fit: FitOptions, **others: Any) -> None:
        super().__init__(data, **others)
        self._over = max(1, round(growth * fit.total_steps(self.steps_per_epoch)))

    def load(self, step: int) -> RawBatch:
        """Read the faces of a step; arguments and errors as `Batches.load`."""
        raw = super().load(step)
        share = min(1.0, step / self._over)
        masks = replace(self.masks, probability=self.masks.probability * share)
        epoch = step // self.steps_per_epoch
        draws = [draw_view(self.seed, epoch, i, self.views, masks) for i in raw.index.tolist()]
        return replace(raw, draws=draws)
