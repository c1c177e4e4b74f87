"""The methods of `mfrkit distill`: each one's options, how it is built, and its paper.

A new method is its file in `methods/`, an entry here, and its presets in `presets.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mfrkit.errors import InputError
from mfrkit.losses.head import MarginHead
from mfrkit.losses.margin import create_margin
from mfrkit.losses.partial import PartialHead
from mfrkit.methods.base import Task
from mfrkit.methods.maskinv import MaskInv, MaskInvOptions
from mfrkit.methods.tap import Tap
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.teachers import Teachers
from mfrkit.stages.world import World


@dataclass(frozen=True)
class MethodParts:
    """What a run has built before its method.

    Attributes:
        student: trained and exported.
        teachers: templates of clean faces.
        identities: number of people in the data.
        templates_known: whether templates come from a cache, and no teacher is called.
        world: the processes of the run.
    """

    student: Recogniser
    teachers: Teachers
    identities: int
    templates_known: bool
    world: World


@dataclass(frozen=True)
class Method:
    """A method as the command line knows it.

    Attributes:
        options: dataclass of the settings' table `method`.
        build: makes the task from the parts of the run and the options.
        paper: the publication.
    """

    options: type[Any]
    build: Callable[[MethodParts, Any], Task]
    paper: str


def build_maskinv(parts: MethodParts, options: MaskInvOptions) -> MaskInv:
    """Build MaskInv with the classifier, projection and taps its options ask for.

    Raises:
        InputError: the data or the teachers do not allow what the options ask for.
    """
    dim, teachers = parts.student.card.embedding_dim or 0, parts.teachers
    return MaskInv(
        student=parts.student,
        teacher=teachers,
        head=_head(parts, options, dim) if options.identity else None,
        projection=None if dim == teachers.dim else nn.Linear(dim, teachers.dim, bias=False),
        taps=_taps(parts, options.stage) if options.attention else None,
        options=options,
    )


def _head(parts: MethodParts, options: MaskInvOptions, dim: int) -> MarginHead | PartialHead:
    """Build the classifier: whole in a single process, else each process its share of it."""
    people, world = parts.identities, parts.world
    if people < 2:
        raise InputError(
            "method.identity needs labels: a folder for each person, or records with identity"
        )
    margin = create_margin(options.margin)
    if world.size == 1 and options.sample == 1:
        return MarginHead(dim, people, margin, options.scale)
    return PartialHead(
        dim,
        people,
        margin,
        options.scale,
        sample=options.sample,
        rank=world.rank,
        world=world.size,
    )


def _taps(parts: MethodParts, stage: str) -> tuple[Tap, Tap]:
    if parts.templates_known:
        raise InputError(
            "method.attention needs the teacher at every step, --teacher-cache leaves it out; "
            "choose one of them"
        )
    return Tap(parts.student, stage), Tap(parts.teachers, stage)


METHODS: Mapping[str, Method] = {
    "maskinv": Method(
        MaskInvOptions,
        build_maskinv,
        "Huber et al., Mask-invariant Face Recognition through Template-level Knowledge "
        "Distillation, FG 2021, arXiv:2112.05646",
    ),
}
