"""Every setting a distillation runs with.

A method that trains on templates instead of pictures has its run to itself (`TemplateMethod`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mfrkit.console import Console
from mfrkit.methods.method import ModelOptions, Preset
from mfrkit.methods.real_masks import RealOptions, UnnamedOptions
from mfrkit.methods.views import ViewOptions
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
