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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.config import REGION
from mfrkit.errors import InputError
from mfrkit.losses.margin import MarginHead, create_margin
from mfrkit.losses.relation import pair_loss, template_distance, triplet_loss
from mfrkit.methods.base import FaceBatch, Frozen, Losses, Task, full_precision
from mfrkit.methods.method import (
    SMALL_VIEWS,
    GeneratorPhase,
    Method,
    MethodParts,
    ModelOptions,
    PhasedMethod,
    Preset,
    bare,
)
from mfrkit.models.cards import ModelCard
from mfrkit.models.completion import Completion
from mfrkit.models.g2d import GenerativeRecogniser, Trunk, with_classifier
from mfrkit.models.mobilefacenet import MobileFaceNet
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.registry import load_for_task, load_network


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

    region: str = REGION
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


class _OnEmbeddings(Task):
    """A phase whose student is a recogniser around a `GenerativeRecogniser`."""

    def __init__(self, student: Recogniser) -> None:
        super().__init__()
        self.student = student

    @property
    def network(self) -> GenerativeRecogniser:
        """Return the student's network."""
        return cast(GenerativeRecogniser, self.student.network)

    def compiled(self) -> list[nn.Module]:
        """Return the region predictor's network and the reformer."""
        return [self.network.region.network, self.network.reformer]


class RelationReforming(_OnEmbeddings):
    """Phase 2: draw a reformer to the relations its teacher sees among unmasked faces.

    Args:
        student: around a `GenerativeRecogniser`, of which only the reformer is trained.
        teacher: maps clean faces to templates; frozen here.
        options: weights.
    """

    def __init__(
        self, *, student: Recogniser, teacher: nn.Module, options: ReformerOptions
    ) -> None:
        super().__init__(student)
        self.teacher = Frozen(teacher)
        self.options = options
        self.network.requires_grad_(False)
        self.network.reformer.requires_grad_(True)

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, `instance`, `pair`, `triplet`, and the instance's means by view.

        Raises:
            WeightsError: the teacher's output is not finite.
        """
        template = self.teacher.template(batch)
        features: Tensor = self.student.features(batch.masked)  # type: ignore[operator]
        with full_precision(features):
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


class FeatureClassification(_OnEmbeddings):
    """Phase 3: name the people of the training data from their embeddings.

    Args:
        student: around a `GenerativeRecogniser` with a classifier.
        head: a margin that trains the classifier's weight; None for softmax over its scores.
        tune: train encoder and reformer too, not the classifier alone.
    """

    def __init__(self, *, student: Recogniser, head: MarginHead | None, tune: bool) -> None:
        super().__init__(student)
        self.head = head
        self.tune = tune
        self.network.requires_grad_(tune)
        self.network.region.requires_grad_(False)
        if self.network.classifier is not None:
            self.network.classifier.requires_grad_(True)
            if head is not None:
                head.weight = self.network.classifier.weight  # type: ignore[assignment]

    def train(self, mode: bool = True) -> "FeatureClassification":
        """Set the mode; what does not train keeps its running statistics."""
        super().train(mode)
        if not self.tune:
            self.student.eval()
        return self

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, and `correct`, the share of the known people that rank first."""
        features: Tensor = self.student.features(batch.masked)  # type: ignore[operator]
        with full_precision(features):
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


_PAPER = (
    "Ge et al., Masked Face Recognition with Generative-to-Discriminative Representations, ICML "
    "2024, arXiv:2405.16761"
)
_ARCHITECTURE = "generative"

_REFORMER_PRESETS: Mapping[str, Preset] = {
    "small": {
        "model": {"student": "mobilefacenet"},
        "method": {"descriptor": "joined_4"},
        "views": SMALL_VIEWS,
        "masks": {"probability": 0.75},
        "fit": {"epochs": 3.0, "batch_size": 48, "lr": 4e-4, "warmup": 30},
    },
    # The small encoder under the paper's reformer.
    "small-resnet22": {
        "model": {"student": "resnet22"},
        "method": {"descriptor": "joined_4"},
        "views": SMALL_VIEWS,
        "masks": {"probability": 0.75},
        "fit": {"epochs": 6.0, "batch_size": 64, "lr": 2e-3, "warmup": 100},
    },
    # The paper's rates of this phase and the next, and its widths, are not known: usual ones.
    "paper": {
        "model": {"student": "resnet22"},
        "method": {"descriptor": "block_8", "widths": (64, 128, 256, 512)},
        "masks": {"probability": 1.0},
        "fit": {
            "epochs": 40.0,
            "batch_size": 64,
            "optimiser": "sgd",
            "lr": 0.1,
            "weight_decay": 5e-4,
            "warmup": 0,
        },
    },
}
# Embeddings come at unit length, so a linear layer must grow large weights to be sure of anybody:
# with a rate of 1e-2 it is not by the end (docs/measured.md, "All recognisers").
_CLASSIFIER_SMALL: Preset = {
    "views": SMALL_VIEWS,
    "masks": {"probability": 0.75},
    "fit": {"epochs": 5.0, "batch_size": 64, "lr": 1e-1, "warmup": 0, "weight_decay": 0.0},
}
_CLASSIFIER_PRESETS: Mapping[str, Preset] = {
    "small": _CLASSIFIER_SMALL,
    "small-resnet22": _CLASSIFIER_SMALL,
    "paper": {
        "masks": {"probability": 1.0},
        "fit": {"epochs": 10.0, "optimiser": "sgd", "lr": 0.01, "weight_decay": 5e-4, "warmup": 0},
    },
}


def _reforming_student(
    model: ModelOptions, options: ReformerOptions, teacher: Recogniser
) -> Recogniser:
    """Put a fresh reformer behind a generator's encoder, or go on with one there is.

    MobileFaceNet's trunk starts from the teacher's weights, if the teacher is one of its width.

    Raises:
        InputError: no such models, or parts that do not fit together.
    """
    generator, card = load_network(model.init)
    if isinstance(generator, GenerativeRecogniser):
        if card.arguments["reformer"] != model.student:
            raise InputError(
                f"--init {model.init}: has the reformer {card.arguments['reformer']}, "
                f"not {model.student}; choose the same --student"
            )
        return Recogniser(generator, bare(card)).train()
    if not isinstance(generator, Completion):
        raise InputError(f"--init {model.init}: is no completion generator, nor made of one")
    region, region_card = load_for_task(options.region, "region")
    dim = model.embedding or teacher.card.embedding_dim or 0
    arguments: dict[str, Any] = {
        "region": bare(region_card).to_json(),
        "generator": {"architecture": card.architecture, "arguments": dict(card.arguments)},
        "descriptor": options.descriptor or next(iter(generator.descriptors)),
        "reformer": model.student,
        "widths": list(options.widths) if model.student == "resnet22" else [],
        "embedding_dim": dim,
    }
    network = GenerativeRecogniser(**arguments)
    network.take(region, generator)
    whole, fits = teacher.network, dim == teacher.card.embedding_dim
    if fits and isinstance(network.reformer, Trunk) and isinstance(whole, MobileFaceNet):
        network.reformer.start_from(whole)
    made = ModelCard(
        name="student",
        task="recognition",
        architecture=_ARCHITECTURE,
        arguments=arguments,
        input_size=card.input_size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        embedding_dim=dim,
    )
    return Recogniser(network, made).train()


def _build_reforming(parts: MethodParts, options: ReformerOptions) -> RelationReforming:
    """Build phase 2.

    Raises:
        InputError: the embedding is not as wide as the teachers' templates.
    """
    dim, wanted = parts.student.card.embedding_dim, parts.teachers.dim
    if dim != wanted:
        raise InputError(
            f"the embedding has {dim} values, the teachers' templates {wanted}; "
            f"--set model.embedding={wanted}"
        )
    return RelationReforming(student=parts.student, teacher=parts.teachers, options=options)


def _classifying_student(
    model: ModelOptions, options: ClassifierOptions, teacher: Recogniser
) -> Recogniser:
    """Load the recogniser whose embeddings are to be classified.

    Raises:
        InputError: no such model, or one of another kind.
    """
    network, card = load_network(model.init)
    if not isinstance(network, GenerativeRecogniser):
        raise InputError(f"--init {model.init}: is no {_ARCHITECTURE} recogniser, as phase 2 makes")
    return Recogniser(network, bare(card)).train()


def _build_classifying(parts: MethodParts, options: ClassifierOptions) -> FeatureClassification:
    """Build phase 3: add a classifier of the people in the data, if it is not there yet."""
    scale = 0.0 if options.margin == "none" else options.scale
    student = parts.student
    more = {"people": list(parts.people), "scale": scale}
    arguments = {**student.card.arguments, **more}
    if student.card.arguments != arguments:
        network = with_classifier(student.network, arguments)
        student = Recogniser(network, replace(student.card, arguments=arguments)).train()
    head = None
    if scale:
        dim = student.card.embedding_dim or 0  # the classifier is exported with the student
        head = MarginHead(dim, len(parts.people), create_margin(options.margin), scale)
    return FeatureClassification(student=student, head=head, tune=options.tune)


METHOD = PhasedMethod(
    phases={
        "encoder": GeneratorPhase(
            presets={"small": "g2d", "small-resnet22": "g2d", "paper": "g2d-paper"}
        ),
        "reformer": Method(
            options=ReformerOptions,
            build=_build_reforming,
            paper=_PAPER,
            presets=_REFORMER_PRESETS,
            student=_reforming_student,
        ),
        "classifier": Method(
            options=ClassifierOptions,
            build=_build_classifying,
            paper=_PAPER,
            presets=_CLASSIFIER_PRESETS,
            student=_classifying_student,
            needs_labels=True,
        ),
    }
)
