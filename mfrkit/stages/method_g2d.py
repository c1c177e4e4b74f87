"""G2D for `mfrkit distill`: its three phases, how they are put together, and their presets."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mfrkit.errors import InputError
from mfrkit.losses.head import MarginHead
from mfrkit.losses.margin import create_margin
from mfrkit.methods.g2d import (
    ClassifierOptions,
    FeatureClassification,
    ReformerOptions,
    RelationReforming,
)
from mfrkit.models.cards import ModelCard
from mfrkit.models.completion import Completion
from mfrkit.models.generative import GenerativeRecogniser, with_classifier
from mfrkit.models.mobilefacenet import MobileFaceNet
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.reformer import Trunk
from mfrkit.models.registry import load_for_task, load_network
from mfrkit.stages.method import GeneratorPhase, Method, MethodParts, PhasedMethod
from mfrkit.stages.presets import SMALL_VIEWS, Preset
from mfrkit.stages.students import ModelOptions, bare

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

    Args:
        model: `student` names the reformer, `init` the generator or recogniser to start from.
        options: of the method.
        teacher: the first one; gives the width of the embedding where `model` does not.

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
        # Whole in every process, unlike a classifier that is left behind: this one is exported.
        dim = student.card.embedding_dim or 0
        head = MarginHead(dim, parts.identities, create_margin(options.margin), scale)
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
