"""Every setting a distillation runs with, and the method behind its name.

A method that trains on templates instead of pictures has its run to itself (`TemplateMethod`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from mfrkit.console import Console
from mfrkit.errors import InputError, instead
from mfrkit.methods.method import GeneratorPhase, Method, ModelOptions, PhasedMethod, Preset
from mfrkit.methods.real_masks import RealOptions, UnnamedOptions
from mfrkit.methods.views import ViewOptions
from mfrkit.training.methods import METHODS
from mfrkit.training.options import DistillRequest
from mfrkit.training.run import Built
from mfrkit.training.settings import (
    CardOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
)
from mfrkit.training.world import World


@dataclass(frozen=True)
class Settings(RunSettings):
    """Every setting of a run, checked.

    Attributes:
        model: what is trained.
        method: what pulls it; the class is the method's own.
        views: how faces vary.
        masks: the words behind the masks.
        real: how really masked faces take part, if there are any.
        unnamed: likewise, those without names.
        fit: of the loop.
        card: of the student.
    """

    model: ModelOptions
    method: Any
    views: ViewOptions
    masks: MaskSettings
    real: RealOptions
    unnamed: UnnamedOptions
    fit: FitOptions
    card: CardOptions


@dataclass(frozen=True)
class TemplateMethod:
    """A method that has its run to itself: no student sees a picture, no views are shown.

    Attributes:
        options: dataclass of the settings' table `method`.
        build: makes the parts of a run.
        paper: the publication.
        presets: named settings.
    """

    options: type[Any]
    build: "Callable[[DistillRequest, Settings, torch.device, World, Console], Built]"
    paper: str
    presets: Mapping[str, Preset]


def load_method(name: str) -> "Method | TemplateMethod | PhasedMethod":
    """Return a method by its name.

    Raises:
        InputError: no such method.
    """
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}{instead(name, [*METHODS])}")
    found: Method | TemplateMethod | PhasedMethod = import_module(METHODS[name]).METHOD
    return found


def find_method(name: str, phase: int = 0) -> "Method | TemplateMethod":
    """Return a method, or one phase of it.

    Args:
        name: of the method.
        phase: number from 1, 0 for a method without phases.

    Raises:
        InputError: no such method, or no such phase of it that distils.

    Example:
        >>> find_method("maskinv").presets["paper-hg"]["method"]["template"]
        3000.0
        >>> find_method("g2d", 2).presets["paper"]["model"]["student"]
        'resnet22'
    """
    method = load_method(name)
    if not isinstance(method, PhasedMethod):
        if phase:
            raise InputError(f"--phase {phase}: {name} is trained in one run; leave it out")
        return method
    found = dict(enumerate(method.phases.values(), 1)).get(phase)
    if found is None or isinstance(found, GeneratorPhase):
        raise InputError(f"method {name}: phase {phase} is none that distils")
    return found
