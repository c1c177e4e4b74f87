"""Faces of people who really wear masks, held to portraits of the same people without.

A photo and a portrait are two pictures of one person: the student's template of the one can come
near the teacher's of the other, not meet it. So the pull is weak, and beside it the person is to be
told from the others, whose portraits stand fixed in a softmax. Collections of such photos name some
people wrongly: the faces of a batch with the greatest losses are left out.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError


@dataclass(frozen=True)
class RealOptions:
    """How really masked faces take part.

    Attributes:
        count: of them in a step, beside the others, over all processes.
        template: weight of 1 - cos between a face and its person's portrait.
        identity: weight of the softmax over the portraits of all people.
        scale: of the cosines in it.
        trim: share of a step's faces left out because their loss is the greatest, below 1.
        table: CSV with a column `key` and one of `masked` and `portrait`, 1 or 0, or both; empty
            lets the bundled region predictor say who wears a mask.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    count: int = 16
    template: float = 0.25
    identity: float = 0.04
    scale: float = 16.0
    trim: float = 0.1
    table: str = ""

    def __post_init__(self) -> None:
        if self.count < 1 or not self.scale > 0:
            raise InputError("real.count must be at least 1 and real.scale above 0")
        if min(self.template, self.identity) < 0 or not self.template + self.identity > 0:
            raise InputError("real.template and real.identity must not be negative, nor both 0")
        if not 0 <= self.trim < 1:
            raise InputError(f"real.trim is a share from 0 to below 1, not {self.trim}")


class PortraitLoss(nn.Module):
    """Hold templates to the portraits of their people.

    Args:
        portraits: (K, D) of unit norm, one template for each person.
        options: weights.

    Example:
        >>> import torch
        >>> loss = PortraitLoss(torch.eye(3), RealOptions(trim=0.5))
        >>> features = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
        >>> terms = loss(features, torch.tensor([0, 2]))  # the second has a wrong name
        >>> float(terms["real_template"]), bool(terms["real"] < 1e-4)
        (0.0, True)
    """

    portraits: Tensor

    def __init__(self, portraits: Tensor, options: RealOptions) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("portraits", portraits, persistent=False)

    def forward(self, features: Tensor, person: Tensor) -> dict[str, Tensor]:
        """Return the loss, weighted already.

        Args:
            features: (B, D) float, any length.
            person: (B,) int64, rows of the portraits.

        Returns:
            `real`, what is to be minimised, and `real_template`, the 1 - cos in it; both over the
            faces that are not left out.
        """
        options = self.options
        cosine = F.normalize(features) @ self.portraits.mT
        distance = 1 - cosine.gather(1, person[:, None])[:, 0]
        named = F.cross_entropy(options.scale * cosine, person, reduction="none")
        each = options.template * distance + options.identity * named
        kept = max(1, len(each) - round(options.trim * len(each)))
        least = each.detach().topk(kept, largest=False).indices
        return {"real": each[least].mean(), "real_template": distance[least].detach().mean()}
