"""De-occlusion distillation: complete the face, and teach a student to read completed faces.

Paper:
    Li, Ge, Zhang, Li, "Look Through Masks: Towards Masked Face Recognition with De-Occlusion
    Distillation", ACM MM 2020, arXiv:2409.12385.

Idea:
    A frozen generator fills what the mask covers. The student sees the completed face, the frozen
    teacher the true one, and the student's embeddings are pulled to relate to each other as the
    teacher's do: each to its own (instance), by distances (pair) and by angles (triplet), while a
    classifier may keep people apart. With a soft target the instance relation holds to the mean of
    the person's embeddings instead of that of the very picture.

Differs:
    The region is predicted as it will be in use, not taken from the renderer; the paper does not
    say. Relations are those of embeddings, not of predictions too. Distances, weights, margin and
    schedule were not found; pair and triplet relations are those of Park et al., "Relational
    Knowledge Distillation", CVPR 2019, arXiv:1904.05068, with its weights. A face whose person is
    unknown is its own mean. Joint fine-tuning of the generator is an option, off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mfrkit.config import GENERATOR, REGION
from mfrkit.errors import InputError
from mfrkit.losses.image import masked_l1
from mfrkit.losses.margin import MarginHead
from mfrkit.losses.relation import pair_loss, template_distance, triplet_loss
from mfrkit.methods.base import FaceBatch, Frozen, Losses, Task, full_precision
from mfrkit.methods.method import (
    LONG_FIT,
    SMALL_VIEWS,
    Method,
    MethodParts,
    ModelOptions,
    Preset,
    Teachers,
    build_head,
    build_student,
)
from mfrkit.methods.real_masks import WornLosses
from mfrkit.models.combined import CompletingRecogniser, completing_card, load_generator
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.region import load_region

Target = Literal["hard", "soft"]
RELATIONS = ("instance", "pair", "triplet")


@dataclass(frozen=True)
class DeOcclusionOptions:
    """What the student sees, and what pulls it.

    Attributes:
        generator: bundled name or model file of the completion generator.
        region: of the region predictor.
        relation: orders that count, of `instance`, `pair` and `triplet`, with commas between.
        target: of the instance relation: the teacher's embedding of the same picture (`hard`), or
            the mean of those of the person (`soft`).
        instance: weight of the instance relation, as 1 - cosine.
        pair: weight of the pairwise distances.
        triplet: weight of the triplet angles.
        identity: weight of the margin classifier (the task loss), 0 for none.
        margin: name of its margin.
        scale: its scale s.
        joint: weight of the true pixels in the hole while the generator is trained with the
            student; 0 keeps it frozen.

    Raises:
        InputError: on construction, for an unknown word, a negative weight, or nothing to learn
            from.
    """

    generator: str = GENERATOR
    region: str = REGION
    relation: str = "instance,pair,triplet"
    target: Target = "hard"
    instance: float = 1.0
    pair: float = 1.0
    triplet: float = 2.0
    identity: float = 0.0
    margin: str = "cosface"
    scale: float = 64.0
    joint: float = 0.0

    def __post_init__(self) -> None:
        unknown = [word for word in self.relations if word not in RELATIONS]
        if unknown:
            raise InputError(
                f"method.relation {unknown[0]!r}: expected some of {', '.join(RELATIONS)}"
            )
        weights = [self.weight(name) for name in RELATIONS] + [self.identity]
        if min(*weights, self.joint) < 0 or not any(weights):
            raise InputError("method weights must not be negative, and not all 0")

    @property
    def relations(self) -> list[str]:
        """Return the orders that count."""
        return [word.strip() for word in self.relation.split(",") if word.strip()]

    def weight(self, relation: str) -> float:
        """Return the weight of one order, 0 where it does not count."""
        weight: float = getattr(self, relation)
        return weight if relation in self.relations else 0.0


class DeOcclusion(Task):
    """Relations between embeddings of completed faces, held to those of the true ones.

    Args:
        student: around a `CompletingRecogniser`; all three of its networks are exported.
        teacher: maps clean faces to templates; frozen here.
        head: the classifier, None to go without.
        options: weights.
        really_worn: what faces that really wear masks add.
    """

    def __init__(
        self,
        *,
        student: Recogniser,
        teacher: Teachers,
        head: MarginHead | None,
        options: DeOcclusionOptions,
        really_worn: WornLosses | None = None,
    ) -> None:
        super().__init__()
        self.student: Recogniser = student
        self.teacher = Frozen(teacher)
        self.head = head
        self.options = options
        self.really_worn = really_worn or WornLosses()
        self.network.region.requires_grad_(False)
        self.network.generator.requires_grad_(bool(options.joint))

    @property
    def network(self) -> CompletingRecogniser:
        """Return the student's three networks."""
        return cast(CompletingRecogniser, self.student.network)

    def train(self, mode: bool = True) -> "DeOcclusion":
        """Leave the frozen parts of the student in eval mode."""
        super().train(mode)
        self.network.region.eval()
        self.network.generator.train(mode and bool(self.options.joint))
        return self

    def compiled(self) -> list[nn.Module]:
        """Return the student's three networks."""
        network = self.network
        return [network.region.network, network.generator, network.recogniser.network]

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, and the terms that count.

        Raises:
            WeightsError: the teacher's output is not finite.
        """
        template = self.teacher.template(batch)
        shown = batch.shown
        region = self.network.region.cover(shown)
        with torch.set_grad_enabled(bool(self.options.joint)):
            completed = self.network.complete(shown, region)
        features = self.network.recogniser.features(completed)
        with full_precision(features):
            own, real, unnamed = batch.parts(features.float())
            losses = self._relations(own, template, batch)
            if self.options.joint:
                hole = self.network.generator.hole(region[: len(batch)])
                losses["joint"] = masked_l1(completed[: len(batch)].float(), batch.clean, hole)
            total, really = self.really_worn(real, unnamed, batch)
            total = total + sum(getattr(self.options, n) * value for n, value in losses.items())
        return {"loss": total, **losses, **really}

    def _relations(self, features: Tensor, template: Tensor, batch: FaceBatch) -> Losses:
        options = self.options
        losses: Losses = {}
        if options.weight("instance"):
            centre = batch.centre if options.target == "soft" else template
            if centre is None:
                raise InputError("method.target soft needs the templates of all faces")
            losses["instance"] = template_distance(features, centre).mean()
        if options.weight("pair"):
            losses["pair"] = pair_loss(features, template)
        if options.weight("triplet"):
            losses["triplet"] = triplet_loss(features, template)
        if options.identity and self.head is not None:
            losses["identity"] = self.head(features, batch.label)
        return losses


_PRESETS: Mapping[str, Preset] = {
    "small": {
        "model": {"student": "mobilefacenet"},
        "views": SMALL_VIEWS,
        "masks": {"probability": 0.75},
        "fit": {"epochs": 3.0, "batch_size": 48, "lr": 4e-4, "warmup": 30, "ema": 0.98},
    },
    # What the paper says: soft targets and a classifier. Its weights, rates and networks were not
    # found; those of MaskInv's paper stand in for the latter two.
    "paper": {
        "model": {"student": "iresnet50"},
        "method": {"target": "soft", "identity": 1.0},
        "masks": {"probability": 0.5},
        "fit": LONG_FIT,
    },
}


def _student(model: ModelOptions, options: DeOcclusionOptions, teacher: Recogniser) -> Recogniser:
    """Put region predictor, generator and a recogniser into one student.

    Raises:
        InputError: models for other tasks, or for crops of different sizes.
        WeightsError: a file is damaged.
    """
    region = load_region(options.region)
    generator, card = load_generator(options.generator)
    inner = build_student(model, teacher)
    network = CompletingRecogniser(region, generator, inner)
    return Recogniser(network, completing_card(region.card, card, inner.card)).train()


def _build(parts: MethodParts, options: DeOcclusionOptions) -> DeOcclusion:
    """Build de-occlusion distillation.

    Raises:
        InputError: soft targets without the templates they are means of, a classifier without
            labels, or a student of another width than the teachers'.
    """
    if options.target == "soft" and not parts.templates_known:
        raise InputError(
            "method.target soft needs the templates of all faces; add --teacher-cache FILE, which "
            "is made if it is not there"
        )
    dim = parts.student.card.embedding_dim
    if (options.weight("instance") or parts.really_worn.any) and dim != parts.teachers.dim:
        raise InputError(
            f"the student gives {dim} values, the teachers {parts.teachers.dim}; choose "
            "model.embedding alike, or go without really masked faces and leave instance out of "
            "method.relation"
        )
    return DeOcclusion(
        student=parts.student,
        teacher=parts.teachers,
        head=build_head(parts, options.margin, options.scale) if options.identity else None,
        options=options,
        really_worn=parts.really_worn,
    )


METHOD = Method(
    options=DeOcclusionOptions,
    build=_build,
    paper="Li et al., Look Through Masks: Towards Masked Face Recognition with De-Occlusion "
    "Distillation, ACM MM 2020, arXiv:2409.12385",
    presets=_PRESETS,
    student=_student,
    takes_real=True,
)
