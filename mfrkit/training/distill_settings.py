"""What one distillation is asked for, and every setting it runs with.

A method that trains on templates instead of pictures has its run to itself (`TemplateMethod`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mfrkit.console import Console
from mfrkit.methods.method import ModelOptions, Preset
from mfrkit.methods.real_masks import RealOptions, UnnamedOptions
from mfrkit.methods.views import ViewOptions
from mfrkit.training.run import Built
from mfrkit.training.settings import (
    CardOptions,
    FitOptions,
    MaskSettings,
    TrainRequest,
    plain_tables,
)
from mfrkit.training.world import World


@dataclass(frozen=True)
class DistillRequest(TrainRequest):
    """What the command line says.

    Attributes:
        teachers: recognisers, by name or file; none is `arcface`.
        method: of distillation.
        phase: number of the method's phase, from 1; 0 for all of them, or where there is but one.
        teacher_cache: HDF5 file of the teachers' templates, or None to compute them at each step.
        pairs: pair list to check on, or None.
        pair_crops: crops it names.
        real: sources of people who really wear masks.
        unnamed: likewise, without names.
    """

    teachers: tuple[str, ...] = ()
    method: str = "maskinv"
    phase: int = 0
    teacher_cache: Path | None = None
    pairs: Path | None = None
    pair_crops: str | None = None
    real: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
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

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain tables, which `--config` reads again."""
        return plain_tables(vars(self))


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
