"""What `mfrkit distill` knows of a method: its options, its student, how it is built, its paper."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfrkit.methods.base import Task
from mfrkit.methods.real_masks import OtherViewLoss, PortraitLoss
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.teachers import Teachers
from mfrkit.stages.presets import Preset
from mfrkit.stages.students import ModelOptions, build_student


@dataclass(frozen=True)
class MethodParts:
    """What a run has built before its method.

    Attributes:
        student: trained and exported.
        teachers: templates of clean faces.
        people: names of the people in the data, by label.
        templates_known: whether templates come from a cache, and no teacher is called.
        recognisers: the teachers as they were loaded, where gradients have to go through one.
        views: how faces vary.
        steps: of the run.
        real: the loss of really masked faces, if there are any.
        unnamed: likewise, of people without names.
        rank: of this process among those of the run, from 0.
        processes: how many there are.
    """

    student: Recogniser
    teachers: Teachers
    people: Sequence[str]
    templates_known: bool
    recognisers: Sequence[Recogniser]
    views: ViewOptions
    steps: int
    real: PortraitLoss | None = None
    unnamed: OtherViewLoss | None = None
    rank: int = 0
    processes: int = 1

    @property
    def identities(self) -> int:
        """Return the number of people in the data."""
        return len(self.people)


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
