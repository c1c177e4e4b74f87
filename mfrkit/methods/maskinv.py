"""MaskInv: teach a student to see through masks by showing its teacher the face without one.

Paper:
    Huber, Boutros, Kirchbuchner, Damer, "Mask-invariant Face Recognition through Template-level
    Knowledge Distillation", FG 2021, arXiv:2112.05646.

Idea:
    The student sees a face that wears a mask with probability p, the frozen teacher the same face
    without. The student's unit vector is pulled to the teacher's, and a margin classifier keeps
    people apart. One phase.

Differs:
    The teacher's view is never masked and shares mirroring and light with the student's (the
    published code paints into the teacher's picture and mirrors the two independently). Faces
    without label take part in the distillation and sit out the classifier. Distance as a cosine,
    weights on unmasked faces, relations between faces are additions, off in the paper presets.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.losses.head import MarginHead
from mfrkit.losses.relation import pair_loss, template_distance, triplet_loss
from mfrkit.methods.base import Frozen, Losses, Task, check_finite
from mfrkit.methods.batch import FaceBatch
from mfrkit.models.recogniser import Recogniser

Distance = Literal["cosine", "mse"]


@dataclass(frozen=True)
class MaskInvOptions:
    """What pulls the student, and how hard.

    Attributes:
        distance: between templates: `mse` as in the paper, or `cosine`.
        template: weight of the template distance (lambda); with `mse` the paper's low guidance
            has 100, its high guidance 3000.
        unmasked: weight of a face without mask in the template distance, a masked one has 1.
        identity: weight of the margin classifier, 0 for none.
        margin: name of its margin.
        scale: its scale s.
        pairs: weight of the pairwise distances.
        triplets: weight of the triplet angles.

    Raises:
        InputError: on construction, for an unknown distance, a negative weight, or no weight at
            all.
    """

    distance: Distance = "cosine"
    template: float = 1.0
    unmasked: float = 1.0
    identity: float = 0.0
    margin: str = "elastic-arc"
    scale: float = 64.0
    pairs: float = 0.0
    triplets: float = 0.0

    def __post_init__(self) -> None:
        if self.distance not in get_args(Distance):
            raise InputError(f"method.distance {self.distance!r}: expected cosine or mse")
        weights = [self.template, self.identity, self.pairs, self.triplets]
        if min(*weights, self.unmasked) < 0 or not any(weights):
            raise InputError("method weights must not be negative, and not all 0")


class MaskInv(Task):
    """Template distillation plus a margin classifier on the student.

    Args:
        student: trained and exported.
        teacher: maps clean faces to templates; frozen here.
        head: the classifier, None to go without.
        projection: maps the student's features to the width of the templates where they differ;
            trained, and left behind at export.
        options: weights.
    """

    def __init__(
        self,
        *,
        student: Recogniser,
        teacher: nn.Module,
        head: MarginHead | None,
        projection: nn.Module | None,
        options: MaskInvOptions,
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = Frozen(teacher)
        self.head = head
        self.projection = projection
        self.options = options

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, `template`, `masked`, and those of the other terms that count.

        Raises:
            WeightsError: the teacher's output is not finite.
        """
        template = batch.template
        if template is None:
            with torch.no_grad():
                template = self.teacher(batch.clean)
        template = template.float()
        check_finite(template)
        features = self.embed(batch.masked)
        # The losses ask for more digits than half precision has.
        with torch.autocast(features.device.type, enabled=False):
            return self._losses(features.float(), template, batch)

    def embed(self, faces: Tensor) -> Tensor:
        """Return the student's (B, D) features."""
        features: Tensor = self.student.features(faces)  # type: ignore[operator]
        return features

    def _losses(self, features: Tensor, template: Tensor, batch: FaceBatch) -> Losses:
        options, worn = self.options, batch.worn
        projected = features if self.projection is None else self.projection(features)
        distance = template_distance(projected, template, options.distance)
        weight = torch.where(worn, 1.0, options.unmasked)
        terms = {"template": (distance * weight).sum() / weight.sum().clamp_min(1e-9)}
        total = options.template * terms["template"]
        if options.identity and self.head is not None:
            terms["identity"] = self._identity(self.head, features, batch.label)
            total = total + options.identity * terms["identity"]
        if options.pairs:
            terms["pairs"] = pair_loss(features, template)
            total = total + options.pairs * terms["pairs"]
        if options.triplets:
            terms["triplets"] = triplet_loss(features, template)
            total = total + options.triplets * terms["triplets"]
        return {"loss": total, **terms, **_by_view(distance.detach(), worn)}

    @staticmethod
    def _identity(head: MarginHead, features: Tensor, label: Tensor) -> Tensor:
        """Classify the faces whose identity is known; 0, with a gradient of 0, if none is."""
        known = label >= 0
        if not bool(known.any()):
            return 0.0 * (features.sum() + head.weight.sum())
        loss: Tensor = head(features[known], label[known])
        return loss


def _by_view(distance: Tensor, worn: Tensor) -> Losses:
    """Return the mean distance of the masked and of the unmasked faces, where there are any."""
    named = {"masked": distance[worn], "unmasked": distance[~worn]}
    return {name: values.mean() for name, values in named.items() if len(values)}
