"""Faces of people who really wear masks, held to their people's portraits or to themselves.

A photo and a portrait are two pictures of one person: the student's template of the one can come
near the teacher's of the other, not meet it. So the pull is weak, and beside it the person is to be
told from the others, whose portraits stand fixed in a softmax. Collections of such photos name some
people wrongly: the faces of a batch with the greatest losses are left out.

Of a person without a name there is the photo alone. What can be asked is that it has the template
of another view of it, misaligned and with another mask drawn over; each view is held to the other
as it stands (Chen, He, CVPR 2021, arXiv:2011.10566). One template for all faces would do as well,
but the softmax over the step's other faces is at its worst there, and the distilled ones forbid it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.methods.base import FaceBatch, Losses


@dataclass(frozen=True)
class HeldOptions:
    """How faces take part that are held to templates and told from other templates.

    Attributes:
        count: of them in a step, beside the others, over all processes.
        template: weight of 1 - cos between a face and its template.
        identity: weight of the softmax over all templates.
        scale: of the cosines in it.
        trim: share of a step's faces left out because their loss is the greatest, below 1.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    count: int = 16
    template: float = 0.25
    identity: float = 0.04
    scale: float = 16.0
    trim: float = 0.1
    table_name: ClassVar[str]

    def __post_init__(self) -> None:
        name = self.table_name
        if self.count < 1 or not self.scale > 0:
            raise InputError(f"{name}.count must be at least 1 and {name}.scale above 0")
        if min(self.template, self.identity) < 0 or not self.template + self.identity > 0:
            raise InputError(
                f"{name}.template and {name}.identity must not be negative, nor both 0"
            )
        if not 0 <= self.trim < 1:
            raise InputError(f"{name}.trim is a share from 0 to below 1, not {self.trim}")


@dataclass(frozen=True)
class RealOptions(HeldOptions):
    """How really masked faces take part: held to the portraits of their people.

    Attributes:
        table: CSV with a column `key` and one of `masked` and `portrait`, 1 or 0, or both; empty
            lets the bundled region predictor say who wears a mask.
    """

    table: str = ""
    table_name: ClassVar[str] = "real"


@dataclass(frozen=True)
class UnnamedOptions(HeldOptions):
    """How really masked faces of unknown people take part: two views held to each other.

    Attributes:
        anchor: weight of 1 - cos between a face and the teacher's template of the photo as it is,
            averaged with its mirror image: a weak hold, for the teacher does not see past masks.
    """

    anchor: float = 0.05
    table_name: ClassVar[str] = "unnamed"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchor < 0:
            raise InputError(f"unnamed.anchor must not be negative, not {self.anchor}")


class PortraitLoss(nn.Module):
    """Hold templates to the portraits of their people.

    Args:
        portraits: (K, D) of unit norm, one template for each person.
        options: weights.
    """

    portraits: Tensor

    def __init__(self, portraits: Tensor, options: RealOptions) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("portraits", portraits, persistent=False)

    def forward(self, features: Tensor, person: Tensor) -> dict[str, Tensor]:
        """Compare (B, D) features of any length with the portraits in the (B,) rows of `person`.

        Returns:
            `real`, what is to be minimised, weighted already, and `real_template`, the 1 - cos in
            it; both over the faces that are not left out.
        """
        each, distance = _held(features, self.portraits, person, self.options)
        least = _least(each, self.options.trim)
        return {"real": each[least].mean(), "real_template": distance[least].detach().mean()}


class OtherViewLoss(nn.Module):
    """Hold two views of each of some really masked faces to each other.

    Args:
        anchors: (N, D) of unit norm, the teacher's templates of all such faces.
        options: weights.
    """

    anchors: Tensor

    def __init__(self, anchors: Tensor, options: UnnamedOptions) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("anchors", anchors, persistent=False)

    def forward(self, first: Tensor, second: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Compare (B, D) features of two views, of any length; (B,) `index` are rows of anchors.

        Returns:
            `unnamed`, what is to be minimised, weighted already, and `unnamed_template`, the 1 -
            cos between the views; both over the faces that are not left out.
        """
        options, own = self.options, torch.arange(len(index), device=first.device)
        anchors = self.anchors[index.to(self.anchors.device)]
        each = torch.zeros_like(first[:, 0])
        for seen, other in ((first, second), (second, first)):
            held, distance = _held(seen, F.normalize(other.detach()), own, options)
            away = 1 - F.cosine_similarity(seen, anchors)
            each = each + (held + options.anchor * away) / 2
        least = _least(each, options.trim)
        return {"unnamed": each[least].mean(), "unnamed_template": distance[least].detach().mean()}


class WornLosses(nn.Module):
    """What the really masked faces of a batch add to any method's losses.

    Args:
        real: of people with portraits; None where there are none.
        unnamed: of people without names; likewise.
    """

    def __init__(
        self, real: PortraitLoss | None = None, unnamed: OtherViewLoss | None = None
    ) -> None:
        super().__init__()
        self.real = real
        self.unnamed = unnamed

    @property
    def any(self) -> bool:
        """Return whether a run has such faces."""
        return self.real is not None or self.unnamed is not None

    def forward(self, real: Tensor, unnamed: Tensor, batch: FaceBatch) -> tuple[Tensor, Losses]:
        """Return what is to be added to the loss, 0 without such faces, and the terms of it.

        Args:
            real: (R, D) float, what the student made of the real faces of the batch.
            unnamed: (2 U, D) float, of both views of the unnamed ones, as `FaceBatch.parts` cuts.
            batch: of which they are.
        """
        terms: Losses = {}
        total = real.new_zeros(())
        if self.real is not None and batch.real is not None:
            terms |= self.real(real, batch.real.label)
            total = total + terms["real"]
        if self.unnamed is not None and batch.unnamed is not None:
            terms |= self.unnamed(*unnamed.chunk(2), batch.unnamed.index)
            total = total + terms["unnamed"]
        return total, terms


def _held(
    features: Tensor, templates: Tensor, row: Tensor, options: HeldOptions
) -> tuple[Tensor, Tensor]:
    """Return each face's loss and its 1 - cos to its row of the templates, (B,) each."""
    cosine = F.normalize(features) @ templates.mT
    distance = 1 - cosine.gather(1, row[:, None])[:, 0]
    named = F.cross_entropy(options.scale * cosine, row, reduction="none")
    return options.template * distance + options.identity * named, distance


def _least(each: Tensor, trim: float) -> Tensor:
    """Return the places of all losses but a share of the greatest."""
    kept = max(1, len(each) - round(trim * len(each)))
    return each.detach().topk(kept, largest=False).indices
