"""What the command line knows of a method, and what a method is built from.

A method's own file says its options, its named settings, how its student is made and how its
task is put together (`Method`). It builds on what is the same for all: teachers as one source of
templates, a student with its start and its card, a margin classifier (`MethodParts`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mfrkit.errors import InputError, instead
from mfrkit.losses.margin import MarginHead, create_margin
from mfrkit.methods.base import Task
from mfrkit.methods.real_masks import WornLosses
from mfrkit.methods.views import ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.combined import CompletingRecogniser
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.registry import build_network


class Teachers(nn.Module):
    """Several recognisers side by side.

    A template is their unit vectors in a row, divided by the root of their number: of unit length
    again, and the cosine of two templates is the mean of the recognisers' cosines.

    Args:
        recognisers: at least one, all of one input size.
    """

    def __init__(self, recognisers: Sequence[Recogniser]) -> None:
        super().__init__()
        self.recognisers = nn.ModuleList(recognisers)
        self.dim = sum(each.card.embedding_dim or 0 for each in recognisers)

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces (B, 3, H, W), RGB in [0, 1], as (B, D) of unit norm."""
        templates = [recogniser(faces) for recogniser in self.recognisers]
        return torch.cat(templates, 1) / math.sqrt(len(templates))


# Whatever a preset does not name has its default.
Preset = Mapping[str, Mapping[str, Any]]
Chosen = TypeVar("Chosen")

# How faces vary for students on a laptop: light, alignment, and the camera's errors. Faces that
# were cut out wide are aligned with their masks on; others are misaligned as 1,500 photos of LFW
# were by the masks drawn on them (examples/measure_misalignment.py).
SMALL_VIEWS: Mapping[str, Any] = {
    "gain": 0.15,
    "offset": 0.1,
    "rotation": 1.9,
    "scale": 0.033,
    "shift": 0.0066,
    "tail": 4.0,
    "align": "mesh",
    "blur": 0.1,
}


# On MS1MV2 at 512 faces a step, the rate divided by ten at four of the epochs: MaskInv's paper.
LONG_FIT: Mapping[str, Any] = {
    "epochs": 26.0,
    "batch_size": 512,
    "optimiser": "sgd",
    "lr": 0.1,
    "weight_decay": 5e-4,
    "schedule": "step",
    "milestones": (7.0, 13.0, 19.0, 24.0),
    "warmup": 0,
}


def choose(what: str, wanted: str, known: Mapping[str, Chosen]) -> Chosen:
    """Return what goes by a name.

    Raises:
        InputError: no such name.
    """
    if wanted not in known:
        raise InputError(f"unknown {what} {wanted!r}{instead(wanted, [*known])}")
    return known[wanted]


OTHER_STARTS = ("auto", "teacher", "scratch")  # all but the models an `init` can name


@dataclass(frozen=True)
class ModelOptions:
    """What is trained.

    Attributes:
        student: architecture.
        init: `teacher` starts from the first teacher's weights, `scratch` from fresh ones,
            anything else names a model, of which a recogniser of completed faces counts as the
            recogniser in it; `auto` is `teacher` if the architectures are the same.
        embedding: D of a fresh student; 0 takes the first teacher's.
    """

    student: str = "mobilefacenet"
    init: str = "auto"
    embedding: int = 0


def build_student(options: ModelOptions, teacher: Recogniser) -> Recogniser:
    """Build a student in training mode; fresh weights come from torch's default generator.

    A student that starts from a model is fed as that model is; a fresh one as the usual card says.

    Raises:
        InputError: a start of another architecture.
    """
    origin = _origin(options, teacher)
    if origin is None:
        dim = options.embedding or teacher.card.embedding_dim or 0
        arguments = {"embedding_dim": dim}
        card = ModelCard(
            name="student",
            task="recognition",
            architecture=options.student,
            arguments=arguments,
            embedding_dim=dim,
        )
        return Recogniser(build_network(options.student, arguments), card).train()
    network = build_network(origin.card.architecture, origin.card.arguments)
    network.load_state_dict(origin.network.state_dict())
    return Recogniser(network, bare(origin.card)).train()


def bare(card: ModelCard) -> ModelCard:
    """Return a card without what it says of its own training."""
    return replace(card.as_part(), note="")


def _origin(options: ModelOptions, teacher: Recogniser) -> Recogniser | None:
    """Return the model whose weights the student starts from, None for fresh ones."""
    fits = teacher.card.architecture == options.student and options.embedding in (
        0,
        teacher.card.embedding_dim,
    )
    if options.init == "scratch" or (options.init == "auto" and not fits):
        return None
    origin = teacher if options.init in ("auto", "teacher") else load_recogniser(options.init)
    if isinstance(origin.network, CompletingRecogniser):
        origin = origin.network.recogniser
    if origin.card.architecture != options.student:
        raise InputError(
            f"--init {options.init}: is {origin.card.architecture}, the student "
            f"{options.student}; choose the same --student, or --init scratch"
        )
    if options.embedding not in (0, origin.card.embedding_dim):
        raise InputError(
            f"--init {options.init}: gives {origin.card.embedding_dim} values, "
            f"model.embedding asks for {options.embedding}"
        )
    return origin


@dataclass(frozen=True)
class MethodParts:
    """What a run has built before its method.

    Attributes:
        student: trained and exported.
        teachers: give the templates of clean faces.
        people: names of the people in the data, by label.
        templates_known: whether templates come from a cache, and no teacher is called.
        recognisers: the teachers as they were loaded, where gradients have to go through one.
        really_worn: what really masked faces add to the losses.
    """

    student: Recogniser
    teachers: Teachers
    people: Sequence[str]
    templates_known: bool
    recognisers: Sequence[Recogniser]
    views: ViewOptions
    steps: int
    really_worn: WornLosses = field(default_factory=WornLosses)


def plain_student(model: ModelOptions, options: Any, teacher: Recogniser) -> Recogniser:
    """Build a student that is a bare recogniser, whatever the method's options say."""
    return build_student(model, teacher)


@dataclass(frozen=True)
class Method:
    """A method as the command line knows it.

    Attributes:
        options: dataclass of the settings' table `method`.
        build: makes the task from the parts of the run and the options.
        paper: the publication.
        presets: named settings.
        student: builds what is exported, from the settings' table `model`, the method's options and
            the first teacher.
        needs_labels: whether it learns who is who, not what a teacher sees: no teacher is asked,
            and pairs are not what it is checked on.
        takes_real: whether really masked faces can take part.
    """

    options: type[Any]
    build: Callable[[MethodParts, Any], Task]
    paper: str
    presets: Mapping[str, Preset]
    student: Callable[[ModelOptions, Any, Recogniser], Recogniser] = plain_student
    needs_labels: bool = False
    takes_real: bool = False


@dataclass(frozen=True)
class GeneratorPhase:
    """A phase that trains a completion generator, as `mfrkit train-inpaint` does.

    Attributes:
        presets: preset of `distill` -> preset of `train-inpaint`.
    """

    presets: Mapping[str, str]


@dataclass(frozen=True)
class PhasedMethod:
    """A method of several runs, each of which starts from the model file of the one before.

    Attributes:
        phases: name -> what is trained, in order.
    """

    phases: Mapping[str, Method | GeneratorPhase]


def build_head(parts: MethodParts, margin: str, scale: float) -> MarginHead:
    """Build the classifier of the people in the data, whole in every process.

    Raises:
        InputError: the data have no labels, or no margin of this name.
    """
    dim, people = parts.student.card.embedding_dim or 0, len(parts.people)
    if people < 2:
        raise InputError(
            "method.identity needs labels: a folder for each person, or records with identity"
        )
    return MarginHead(dim, people, create_margin(margin), scale)
