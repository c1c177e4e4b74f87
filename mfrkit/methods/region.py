"""Learn where a face is covered, from masks whose region is known because they were drawn.

Idea:
    The student sees a face with a drawn mask, or none, and is told how much of each pixel the mask
    covers. Cross-entropy keeps pixels right, soft Dice whole regions. Faces without mask, with
    whatever beards, hands and shadows they have, show what is no cover. One phase.
"""

from dataclasses import dataclass

import torch

from mfrkit.errors import InputError
from mfrkit.losses.segmentation import dice_loss, pixel_loss
from mfrkit.methods.base import Losses, Task
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.disturb import DisturbOptions, disturb
from mfrkit.models.carded import Carded


@dataclass(frozen=True)
class RegionOptions:
    """Weights of the losses.

    Attributes:
        pixel: of the cross-entropy.
        dice: of the soft Dice loss.

    Raises:
        InputError: on construction, for a negative weight, or none at all.
    """

    pixel: float = 1.0
    dice: float = 1.0

    def __post_init__(self) -> None:
        if min(self.pixel, self.dice) < 0 or not self.pixel + self.dice:
            raise InputError("method weights must not be negative, and not all 0")


class RegionTask(Task):
    """Segmentation of drawn masks.

    Args:
        student: gives logits as `raw`; trained and exported.
        options: weights.
        changes: what is done to the views beyond the renderer.
    """

    def __init__(self, *, student: Carded, options: RegionOptions, changes: DisturbOptions) -> None:
        super().__init__()
        self.student = student
        self.options = options
        self.changes = changes

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, `pixel` and `dice`."""
        faces, region = disturb(batch.masked, batch.region, self.changes)
        faces = faces.contiguous(memory_format=torch.channels_last)
        logits = self.student.raw(faces)  # type: ignore[operator]
        # The losses ask for more digits than half precision has.
        with torch.autocast(logits.device.type, enabled=False):
            terms = {
                "pixel": pixel_loss(logits.float(), region),
                "dice": dice_loss(logits.float(), region),
            }
        total = self.options.pixel * terms["pixel"] + self.options.dice * terms["dice"]
        return {"loss": total, **terms}
