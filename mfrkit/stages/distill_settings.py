"""What one distillation is asked for, and every setting it runs with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfrkit.methods.real_masks import RealOptions, UnnamedOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.students import ModelOptions
from mfrkit.stages.train_request import CardOptions, MaskSettings, TrainRequest, plain_tables


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
