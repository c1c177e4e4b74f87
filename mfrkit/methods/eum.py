"""EUM: unmask templates, and leave the recogniser that makes them alone.

Paper:
    Boutros, Damer, Kirchbuchner, Kuijper, "Self-restrained Triplet Loss for Accurate Masked Face
    Recognition", Pattern Recognition 124, 2022, arXiv:2103.01716.

Idea:
    A small network on top of any recogniser, whose weights nobody needs to see, maps the template
    of a masked face to what the recogniser would say of the bare one: the self-restrained triplet
    of its output, the true template, and that of another person. One phase, minutes on a CPU.

Differs:
    The network adds to the template (`models/unmasking.py`), and templates of unmasked faces are
    trained on as well, so that a run need not know who wears a mask. The negative is another face
    of the batch. The cosine to the true template is an addition, off in the paper's preset.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.losses.relation import template_distance
from mfrkit.methods.base import Losses, Task


def self_restrained_triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 2.0
) -> Tensor:
    """Measure triplets of an unmasked template, the true one, and another person's.

    With d1 the squared distance anchor to positive, d2 anchor to negative, d3 positive to negative:
    max(d1 - d2 + margin, 0) as in the plain triplet loss while the anchors are nearer to other
    people than true templates are, mean(d2) < mean(d3). From there on max(d1 - mean(d3) + margin,
    0), in which nothing pushes any more and all effort goes into d1.

    Convention:
        Squared Euclidean distances of unit vectors, 2 - 2 cos, in [0, 4]. Means are over the batch,
        as in the code published with the paper.

    Args:
        anchor: (B, D) float, any length: what the network made of the masked faces.
        positive: (B, D) float, the same people without mask; gets no gradient.
        negative: (B, D) float, other people without mask; gets no gradient.
        margin: at most 4; the paper has 2.

    Returns:
        (B,) float, at least 0.

    Raises:
        ShapeError: different shapes.
    """
    if not anchor.shape == positive.shape == negative.shape:
        shapes = ", ".join(str(tuple(each.shape)) for each in (anchor, positive, negative))
        raise ShapeError(f"the templates of triplets differ in shape: {shapes}")
    positive, negative = positive.detach(), negative.detach()
    genuine = _squared_distance(anchor, positive)
    impostor = _squared_distance(anchor, negative)
    usual = _squared_distance(positive, negative).mean()
    limit = torch.where(impostor.mean() >= usual, usual, impostor)
    return F.relu(genuine - limit + margin)


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the (B,) squared distances of the directions of (B, D) vectors, in [0, 4]."""
    return 2 - 2 * F.cosine_similarity(a, b)


@dataclass(frozen=True)
class EumOptions:
    """The network and its loss.

    Attributes:
        versions: masked versions made of each crop; templates from files are as many as they are.
        width: values between the layers; 0 takes the templates'.
        layers: fully connected ones.
        triplet: weight of the self-restrained triplet.
        margin: of the triplet, in squared distance, up to 4.
        template: weight of 1 - cosine to the true template.
        unmasked: weight of a face without mask, a masked one has 1.

    Raises:
        InputError: on construction, for a number no network or loss can have.
    """

    versions: int = 2
    width: int = 0
    layers: int = 4
    triplet: float = 1.0
    margin: float = 2.0
    template: float = 0.0
    unmasked: float = 1.0

    def __post_init__(self) -> None:
        if self.versions < 1 or self.width < 0 or self.layers < 2:
            raise InputError("method.versions is at least 1, width 0, layers 2")
        weights = (self.triplet, self.template)
        if min(*weights, self.unmasked) < 0 or not any(weights):
            raise InputError("method weights must not be negative, and not all 0")
        if not 0 <= self.margin <= 4:
            raise InputError(f"method.margin is a squared distance up to 4, not {self.margin}")


@dataclass(frozen=True)
class TemplateBatch:
    """B templates of a recogniser, and what each should become.

    Attributes:
        template: (B, D) float32, unit norm.
        target: (B, D) float32, unit norm: that of the bare face, or the mean of the person's.
        worn: (B,) bool, whether the face wears a mask.
        label: (B,) int64 identity, -1 where unknown.
    """

    template: Tensor
    target: Tensor
    worn: Tensor
    label: Tensor


class Eum(Task):
    """Train an unmasking network on templates.

    Args:
        student: maps (B, D) templates to (B, D); trained and exported.
        options: weights.
    """

    def __init__(self, student: nn.Module, options: EumOptions) -> None:
        super().__init__()
        self.student = student
        self.options = options

    def forward(self, batch: TemplateBatch) -> Losses:
        """Return `loss`, its terms, and the distances of masked and unmasked templates."""
        options, worn = self.options, batch.worn
        made = self.student(batch.template).float()
        distance = template_distance(made, batch.target)
        weight = torch.where(worn, 1.0, options.unmasked)
        weight = weight / weight.sum().clamp_min(1e-9)
        terms: Losses = {}
        if options.triplet:
            negative, found = others(batch.target, batch.label)
            triplet = self_restrained_triplet(made, batch.target, negative, options.margin)
            terms["triplet"] = (triplet * weight * found).sum()
        if options.template:
            terms["template"] = (distance * weight).sum()
        total = sum(
            (getattr(options, name) * value for name, value in terms.items()), made.new_zeros(())
        )
        named = {"masked": distance[worn].detach(), "unmasked": distance[~worn].detach()}
        views = {name: values.mean() for name, values in named.items() if len(values)}
        return {"loss": total, **terms, **views}


def others(templates: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Give each face of a batch another person's template, drawn by torch's default generator.

    Faces of unknown people, with a label of -1, count as different from all.

    Returns:
        (B, D) float, and (B,) bool, False where the batch holds nobody else.
    """
    same = torch.eye(len(label), dtype=torch.bool, device=label.device)
    same |= (label[:, None] == label) & (label[:, None] >= 0)
    chance = torch.rand(len(label), len(label)).to(label.device).masked_fill(same, -1)
    highest, place = chance.max(1)
    return templates[place], highest >= 0
