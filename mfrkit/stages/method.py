"""What `mfrkit distill` knows of a method: its options, its student, how it is built, its paper."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfrkit.methods.base import Task
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.teachers import Teachers
from mfrkit.stages.presets import Preset
from mfrkit.stages.students import ModelOptions, build_student
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
        recognisers: the teachers as they were loaded, where gradients have to go through one.
        views: how faces vary.
        steps: of the run.
    """

    student: Recogniser
    teachers: Teachers
    identities: int
    templates_known: bool
    world: World
    recognisers: Sequence[Recogniser]
    views: ViewOptions
    steps: int


def plain_student(model: ModelOptions, options: Any, teacher: Recogniser) -> Recogniser:
    """Build a student that is a bare recogniser, whatever the method's options say.

    Raises:
        InputError: a start of another architecture.
    """
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
    """

    options: type[Any]
    build: Callable[[MethodParts, Any], Task]
    paper: str
    presets: Mapping[str, Preset]
    student: Callable[[ModelOptions, Any, Recogniser], Recogniser] = plain_student
