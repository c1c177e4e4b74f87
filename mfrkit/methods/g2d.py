"""G2D: recognise masked faces by what a completion generator knows of them before it draws.

Paper:
    Ge et al., "Masked Face Recognition with Generative-to-Discriminative
    Representations", ICML 2024, arXiv:2405.16761.

Idea:
    Three networks, trained greedily one after another. The encoder of a completion generator turns
    a masked face into a descriptor of the whole face; a reformer turns that into an embedding whose
    relations to other faces are those a teacher sees in the faces without mask; a feature
    classifier names the people of the training data.

Phases:
    1. encoder: `FaceCompletion` fine-tunes a generator, reconstruction and adversarial.
    2. reformer: `RelationReforming` below; the encoder is frozen.
    3. classifier: `FeatureClassification` below; encoder and reformer are frozen, or follow slowly
       in a run of their own.

Differs:
    The encoder is a generator without transformer, which is fed the region a predictor finds, in
    training as in use; the paper's generator also sees a sketch drawn by a transformer, and where
    its regions come from it does not say. Which relations are meant and how they are weighted the
    paper does not say either: the three orders of de-occlusion distillation, weighted 1, 1 and 2
    where the first is a squared distance. The classifier sees unit vectors, so that stored
    embeddings serve it.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.losses.head import MarginHead
from mfrkit.losses.relation import pair_loss, template_distance, triplet_loss
from mfrkit.methods.base import Frozen, Losses, Task, check_finite
from mfrkit.methods.batch import FaceBatch
from mfrkit.models.generative import GenerativeRecogniser
from mfrkit.models.recogniser import Recogniser


@dataclass(frozen=True)
class ReformerOptions:
    """What the reformer is fed, its size, and what pulls it.

    Attributes:
        region: bundled name or model file of the region predictor.
        descriptor: the generator's map that is handed over; empty for its usual one.
        widths: channels of the four stages of `resnet22`.
        instance: weight of 1 - cosine between a face and its template, half the squared distance
            of the unit vectors.
        pair: weight of the pairwise distances.
        triplet: weight of the triplet angles.

    Raises:
        InputError: on construction, for widths or weights no run can use.
    """

    region: str = "region"
    descriptor: str = ""
    widths: tuple[int, ...] = (48, 72, 104, 136)
    instance: float = 2.0
    pair: float = 1.0
    triplet: float = 2.0

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or min(self.widths) < 1:
            raise InputError(f"method.widths are four numbers of channels, not {self.widths}")
        weights = (self.instance, self.pair, self.triplet)
        if min(weights) < 0 or not any(weights):
            raise InputError("method weights must not be negative, and not all 0")


@dataclass(frozen=True)
class ClassifierOptions:
    """How people are told apart.

    Attributes:
        margin: `none` for the paper's linear layer and softmax, or the name of a margin.
        scale: s of a margin.
        tune: let encoder and reformer follow; for a second run at a low rate.

    Raises:
        InputError: on construction, for a scale that is none.
    """

    margin: str = "none"
    scale: float = 64.0
    tune: bool = False

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise InputError(f"method.scale must be positive, not {self.scale}")


class RelationReforming(Task):
    """Phase 2: draw a reformer to the relations its teacher sees among unmasked faces.

    Args:
        student: around a `GenerativeRecogniser`, of which only the reformer is trained.
        teacher: maps clean faces to templates; frozen here.
        options: weights.
    """

    def __init__(
        self, *, student: Recogniser, teacher: nn.Module, options: ReformerOptions
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = Frozen(teacher)
        self.options = options
        self.network.requires_grad_(False)
        self.network.reformer.requires_grad_(True)

    @property
    def network(self) -> GenerativeRecogniser:
        """Return the student's network."""
        return cast(GenerativeRecogniser, self.student.network)

    def compiled(self) -> list[nn.Module]:
        """Return the region predictor's network and the reformer."""
        return [self.network.region.network, self.network.reformer]

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, `instance`, `pair`, `triplet`, and the instance's means by view.

        Raises:
            WeightsError: the teacher's output is not finite.
        """
        with torch.no_grad():
            known = batch.template
            template = (self.teacher(batch.clean) if known is None else known).float()
        check_finite(template)
        features: Tensor = self.student.features(batch.masked)  # type: ignore[operator]
        # The losses ask for more digits than half precision has.
        with torch.autocast(features.device.type, enabled=False):
            return self._losses(features.float(), template, batch)

    def _losses(self, features: Tensor, template: Tensor, batch: FaceBatch) -> Losses:
        instance = template_distance(features, template)
        losses = {
            "instance": instance.mean(),
            "pair": pair_loss(features, template),
            "triplet": triplet_loss(features, template),
        }
        total = sum(getattr(self.options, name) * loss for name, loss in losses.items())
        return {"loss": torch.as_tensor(total), **losses, **batch.by_view(instance.detach())}


class FeatureClassification(Task):
    """Phase 3: name the people of the training data from their embeddings.

    Args:
        student: around a `GenerativeRecogniser` with a classifier.
        head: a margin that trains the classifier's weight; None for softmax over its scores.
        tune: train encoder and reformer too, not the classifier alone.
    """

    def __init__(self, *, student: Recogniser, head: MarginHead | None, tune: bool) -> None:
        super().__init__()
        self.student = student
        self.head = head
        self.tune = tune
        self.network.requires_grad_(tune)
        self.network.region.requires_grad_(False)
        if self.network.classifier is not None:
            self.network.classifier.requires_grad_(True)
            if head is not None:
                head.weight = self.network.classifier.weight  # type: ignore[assignment]

    @property
    def network(self) -> GenerativeRecogniser:
        """Return the student's network."""
        return cast(GenerativeRecogniser, self.student.network)

    def compiled(self) -> list[nn.Module]:
        """Return the region predictor's network and the reformer."""
        return [self.network.region.network, self.network.reformer]

    def train(self, mode: bool = True) -> "FeatureClassification":
        """Set the mode; what does not train keeps its running statistics."""
        super().train(mode)
        if not self.tune:
            self.student.eval()
        return self

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, and `correct`, the share of the known people that rank first."""
        features: Tensor = self.student.features(batch.masked)  # type: ignore[operator]
        with torch.autocast(features.device.type, enabled=False):
            return self._losses(features.float(), batch.label)

    def _losses(self, features: Tensor, label: Tensor) -> Losses:
        scores, known = self.network.classify(features), label >= 0
        if not bool(known.any()):
            return {"loss": 0.0 * scores.sum()}
        if self.head is None:
            loss = F.cross_entropy(scores[known], label[known])
        else:
            loss = self.head(features, label)
        correct = scores[known].argmax(1) == label[known]
        return {"loss": loss, "correct": correct.float().mean()}
