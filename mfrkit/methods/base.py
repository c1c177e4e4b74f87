"""What every training method is: an object that turns a batch of two views into named losses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mfrkit.errors import WeightsError


@dataclass(frozen=True)
class FaceBatch:
    """B faces, as the student and as the teacher see them.

    Attributes:
        masked: (B, 3, H, W) float32 RGB in [0, 1], the student's view; not every face wears a mask.
        clean: (B, 3, H, W) float32 RGB in [0, 1], the teacher's view: no mask, the same mirroring
            and the same light.
        region: (B, 1, H, W) float32 in [0, 1], how much of each pixel of `masked` the mask covers.
        label: (B,) int64 identity, -1 where unknown.
        index: (B,) int64, place of the face in the data set.
        template: (B, D) float32, the teacher's embedding where it is known already.
        centre: (B, D) float32, unit mean of the teacher's embeddings of the face's person, or of
            the face alone where the person is unknown; known where all templates are.
        real: faces of people who really wear masks, in `masked`; their labels are rows of the
            portraits they are held to.
        unnamed: really masked faces of unknown people, in `clean` as they are, in `masked` with
            another mask drawn over theirs.
    """

    masked: Tensor
    clean: Tensor
    region: Tensor
    label: Tensor
    index: Tensor
    template: Tensor | None = None
    centre: Tensor | None = None
    real: "FaceBatch | None" = None
    unnamed: "FaceBatch | None" = None

    @property
    def worn(self) -> Tensor:
        """Return (B,) bool: whether the face wears a mask."""
        return self.region.flatten(1).amax(1) > 0

    def __len__(self) -> int:
        return len(self.masked)

    @property
    def shown(self) -> Tensor:
        """Return (N, 3, S, S): these faces, the real ones, both views of the unnamed."""
        seen = [self.masked]
        if self.real is not None:
            seen.append(self.real.masked)
        if self.unnamed is not None:
            seen += [self.unnamed.clean, self.unnamed.masked]
        return torch.cat(seen)

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut rows, of these faces, the real ones and both views of the unnamed, into three."""
        real, unnamed = (0 if each is None else len(each) for each in (self.real, self.unnamed))
        own, real, unnamed = rows.split([len(self), real, 2 * unnamed])
        return own, real, unnamed

    def by_view(self, values: Tensor) -> dict[str, Tensor]:
        """Return the means of (B,) values over the masked and the unmasked faces; NaN of none."""
        worn = self.worn
        named = {"masked": worn, "unmasked": ~worn}  # sums: a choice of rows waits for the device
        return {
            name: torch.where(some, values, 0).sum() / some.sum() for name, some in named.items()
        }


Losses = dict[str, Tensor]


class Task(nn.Module):
    """A method: its networks, and what a step asks of them.

    A subclass sets `student`, the network that is exported, and gives the losses of a batch: a
    `FaceBatch`, or what else its run makes. The entry `loss` is minimised; all entries are logged.
    """

    student: nn.Module

    def forward(self, batch: Any) -> Losses:
        """Return the losses of a batch, scalars by name, `loss` among them."""
        raise NotImplementedError

    def steps(self, batch: Any) -> Iterator[tuple[str, Losses]]:
        """Yield the optimiser steps of a batch: whose step, and its losses.

        The loop steps before it asks for the next, so a second step sees the first one's update.
        """
        yield "main", self(batch)

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Return the trainable parameters behind each name that `steps` yields."""
        return {"main": [p for p in self.parameters() if p.requires_grad]}

    def clipped(self) -> list[nn.Parameter]:
        """Return the parameters whose joint gradient norm is limited: the student's."""
        return [p for p in self.student.parameters() if p.requires_grad]

    def rate(self) -> float:
        """Return the factor on the learning rate of the coming step."""
        return 1.0

    def compiled(self) -> list[nn.Module]:
        """Return the networks whose calls are worth compiling."""
        return [self.student]


class Frozen(nn.Module):
    """A network that never trains: fixed weights, always in eval mode.

    Gradients still reach its input, which an identity-preserving loss needs.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in eval mode, whatever is asked."""
        return super().train(False)

    def forward(self, faces: Tensor) -> Tensor:
        """Call the network."""
        result: Tensor = self.network(faces)
        return result

    def template(self, batch: FaceBatch) -> Tensor:
        """Return what it gives for a batch's clean faces, or what is known already, as float32.

        Raises:
            WeightsError: see `check_finite`.
        """
        with torch.no_grad():
            template = self(batch.clean) if batch.template is None else batch.template
        return check_finite(template).float()


def check_finite(template: Tensor) -> Tensor:
    """Return a teacher's embeddings, rather than distil nonsense.

    Raises:
        WeightsError: one is not finite.
    """
    if not bool(template.isfinite().all()):
        raise WeightsError("the teacher's output is not finite; its weights are unusable")
    return template


def full_precision(features: Tensor) -> torch.autocast:
    """Return a context that computes losses of features: they ask for more than half precision."""
    return torch.autocast(features.device.type, enabled=False)
