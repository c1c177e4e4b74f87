"""Learn where a face is covered, from masks whose region is known because they were drawn.

Idea:
    The student sees a face with a drawn mask, or none, and is told how much of each pixel the mask
    covers. Cross-entropy keeps pixels right, soft Dice whole regions. Faces without mask, with
    whatever beards, hands and shadows they have, show what is no cover. One phase.

    A predictor trained on drawn masks alone may learn how they are drawn. So the cover of some
    faces is made of another stuff, some faces are covered in other places and shapes, and all of
    them are lit unevenly and grained. Everything is drawn from torch's default generator, which
    the training loop seeds at every step.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import InputError
from mfrkit.losses.image import dice_loss, pixel_loss
from mfrkit.methods.base import FaceBatch, Losses, Task
from mfrkit.models.recogniser import Carded


@dataclass(frozen=True)
class DisturbOptions:
    """How often and how far faces are changed.

    Attributes:
        stuff: share of the masked faces whose cover is made of another stuff.
        patch: share of all faces that are covered somewhere by a patch of any shape.
        shade: standard deviation of the uneven light, as a logarithm.
        grain: greatest standard deviation of the grain, pixel values in [0, 1].

    Raises:
        InputError: on construction, for a value out of range.
    """

    stuff: float = 0.3
    patch: float = 0.2
    shade: float = 0.15
    grain: float = 0.03

    def __post_init__(self) -> None:
        for name in ("stuff", "patch", "shade", "grain"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"disturb.{name} must be from 0 to 1, not {getattr(self, name)}")


@torch.no_grad()
def disturb(faces: Tensor, region: Tensor, options: DisturbOptions) -> tuple[Tensor, Tensor]:
    """Change a batch of masked faces.

    Args:
        faces: (B, 3, H, W) float32 RGB in [0, 1]; not written to.
        region: (B, 1, H, W) float32 in [0, 1], how much of each pixel is covered; not written to.
        options: how often and how far.

    Returns:
        The changed faces and their regions, new tensors of the same shapes.

    Example:
        >>> faces, region = torch.rand(2, 3, 112, 112), torch.zeros(2, 1, 112, 112)
        >>> changed, covered = disturb(faces, region, DisturbOptions(patch=1.0))
        >>> bool((covered.flatten(1).amax(1) > 0.9).all()), bool((changed >= 0).all())
        (True, True)
    """
    other = _stuff(faces)
    chosen = _chosen(len(faces), options.stuff, faces.device) * region
    faces = torch.lerp(faces, other, chosen.expand_as(faces))
    patch = _chosen(len(faces), options.patch, faces.device) * _patches(region)
    # Rolled by one, so that a cover and a patch on the same face differ in stuff.
    faces = torch.lerp(faces, other.roll(1, 0), patch.expand_as(faces))
    region = torch.maximum(region, patch)
    faces = faces * _field(faces, 3).mul(options.shade).exp()
    grain = torch.rand(len(faces), 1, 1, 1, device=faces.device) * options.grain
    return (faces + torch.randn_like(faces) * grain).clamp(0, 1), region


def _chosen(count: int, share: float, device: torch.device) -> Tensor:
    """Return (count, 1, 1, 1) float32: 1 for the share of faces that chance chooses, else 0."""
    return (torch.rand(count, 1, 1, 1, device=device) < share).float()


def _stuff(faces: Tensor) -> Tensor:
    """Return a texture for each face: a colour, clouded, with some of another picture upon it.

    Another picture means another face of the batch, upside down, from nothing to all of it.
    """
    count, device = len(faces), faces.device
    color = torch.rand(count, 3, 1, 1, device=device)
    clouds = 0.1 * _field(faces, 4) + 0.08 * _field(faces, 28)
    amount = torch.rand(count, 1, 1, 1, device=device).mul(2.0).sub(1.0).clamp(min=0)
    plain = color + clouds * torch.rand(count, 1, 1, 1, device=device)
    return torch.lerp(plain, faces.roll(1, 0).flip(2), amount.expand_as(faces)).clamp(0, 1)


def _field(faces: Tensor, cells: int) -> Tensor:
    """Return smooth noise (B, 3, H, W) of about unit deviation, nearly alike in all colours."""
    count, size, device = len(faces), faces.shape[2:], faces.device
    coarse = torch.randn(count, 1, cells, cells, device=device)
    coarse = coarse + 0.3 * torch.randn(count, 3, cells, cells, device=device)
    return F.interpolate(coarse, size, mode="bilinear", align_corners=True)


def _patches(region: Tensor) -> Tensor:
    """Return a patch for each face, (B, 1, H, W) in [0, 1].

    A patch is a super-ellipse, from a lozenge to a box, turned at will; its middle lies anywhere
    on the face, more often in its lower half.
    """
    count, (height, width), device = len(region), region.shape[2:], region.device
    low = torch.tensor([-0.6, -0.5, 0.15, 0.10, 0.0, 1.2], device=device)
    high = torch.tensor([0.6, 0.9, 0.75, 0.50, torch.pi, 6.0], device=device)
    draws = low + (high - low) * torch.rand(count, 6, device=device)
    x, y, wide, tall, turn, power = (each[:, None, None] for each in draws.T)
    down, right = torch.meshgrid(
        torch.linspace(-1, 1, height, device=device),
        torch.linspace(-1, 1, width, device=device),
        indexing="ij",
    )
    right, down = right - x, down - y
    along = (right * turn.cos() + down * turn.sin()).abs() / wide
    across = (down * turn.cos() - right * turn.sin()).abs() / tall
    inside = 1 - (along**power + across**power) ** (1 / power)
    edge = 2 / height / torch.minimum(wide, tall)  # one pixel, in shares of the half axis
    return (inside / edge + 0.5).clamp(0, 1)[:, None]


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
