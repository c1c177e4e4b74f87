"""The options of the commands that train, and of those around them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from mfrkit.config import RunOptions
from mfrkit.methods import METHODS
from mfrkit.options import (
    Checked,
    Force,
    Offers,
    OneOf,
    PictureName,
    Seed,
    Setting,
    Some,
    Usually,
    Within,
    declared,
)

ModelFile = Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")]
StartFile = Annotated[
    str | None, typer.Option("--init", help="Model file to start from."), Setting("model.init")
]
RealCrops = Annotated[
    tuple[str, ...],
    typer.Option(metavar="DATA", help="Crops of really masked faces; repeatable."),
    Setting("real.data"),
]
Rest = Annotated[RunOptions, Some("workers", "device", "resume", "force", "dry_run")]
_DATA = typer.Argument(metavar="DATA...", help="Crops: folders, manifests, .rec, .tar; repeatable.")


@dataclass(frozen=True)
class TrainRequest(Checked):
    """What the command line of a training command says.

    Attributes:
        output: model file to write.
        assignments: over preset and file.
        layers: tables over the preset, each with where it comes from, for messages.
        command: the command line, for the card.
    """

    data: Annotated[tuple[str, ...], _DATA, Usually("crops", "mfrkit align PHOTOS")]
    output: ModelFile
    preset: str = "small"
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None
    assignments: Annotated[
        tuple[str, ...],
        typer.Option("--set", metavar="TABLE.NAME=VALUE", help="One setting; may be repeated."),
    ] = ()
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps."), Setting("fit.steps")
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", help="Faces per step, over all processes."),
        Setting("fit.batch_size"),
    ] = None
    lr: Annotated[float | None, typer.Option(help="Highest learning rate."), Setting("fit.lr")] = (
        None
    )
    seed: Seed = 0
    run: Rest = field(default_factory=RunOptions)
    layers: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    command: str = ""

    @property
    def flags(self) -> dict[str, dict[str, Any]]:
        """Return the settings that have options of their own and were given, as tables."""
        tables: dict[str, dict[str, Any]] = {}
        for each in declared(type(self)):
            setting, value = each.first(Setting), getattr(self, each.field.name)
            if setting and value not in (None, ()):
                table, _, name = setting.place.partition(".")
                tables.setdefault(table, {})[name] = value
        return tables


@dataclass(frozen=True)
class InpaintRequest(TrainRequest):
    """What `mfrkit train-inpaint` is asked for."""

    output: ModelFile = Path("completion.safetensors")
    preset: Annotated[
        str,
        typer.Option(help="small or paper; g2d, g2d-paper."),
        Offers("small", "paper", "g2d", "g2d-paper"),
    ] = "small"
    init: StartFile = None


@dataclass(frozen=True)
class RegionRequest(TrainRequest):
    """What `mfrkit train-region` is asked for."""

    output: ModelFile = Path("region.safetensors")
    preset: Annotated[str, typer.Option(help="small or large."), Offers("small", "large")] = "small"
    real: RealCrops = ()
    init: StartFile = None


@dataclass(frozen=True)
class LandmarkRequest(TrainRequest):
    """What `mfrkit train-landmarks` is asked for."""

    data: Annotated[
        tuple[str, ...], _DATA, Usually("crops", "mfrkit align PHOTOS --size 224 --margin 0.5")
    ]
    output: ModelFile = Path("landmarks.safetensors")
    preset: Annotated[str, typer.Option(help="small."), Offers("small")] = "small"
    real: RealCrops = ()
    start: Annotated[
        str | None,
        typer.Option(help="Model to begin with.", show_default="facemesh"),
        Setting("model.start"),
    ] = None


@dataclass(frozen=True)
class DistillRequest(TrainRequest):
    """What `mfrkit distill` is asked for.

    Attributes:
        phase: 0 for all of them, or where there is but one.
        real: sources of people who really wear masks.
        unnamed: likewise, without names.
    """

    output: ModelFile = Path("student.safetensors")
    preset: Annotated[
        str,
        typer.Option(help="small or paper; paper-hg, small-resnet22."),
        Offers("small", "paper", "paper-hg", "small-resnet22"),
    ] = "small"
    teachers: Annotated[
        tuple[str, ...],
        typer.Option(
            *("--teacher", "-t"),
            help="Bundled name or file, also .onnx, .pth; repeatable.",
            show_default="arcface",
        ),
    ] = ()
    method: Annotated[str, typer.Option(help=f"{OneOf(*METHODS)}."), Offers(*METHODS)] = "maskinv"
    phase: Annotated[
        int, typer.Option(help="Of g2d: 1 encoder, 2 reformer, 3 classifier; 0 all.")
    ] = 0
    student: Annotated[
        str | None,
        typer.Option(help="mobilefacenet, edgeface, iresnet18 to iresnet200; g2d: resnet22."),
        Setting("model.student"),
    ] = None
    init: Annotated[
        str | None,
        typer.Option("--init", help="teacher, scratch or a model."),
        Setting("model.init"),
    ] = None
    relation: Annotated[
        str | None,
        typer.Option(help="deocclusion: some of instance,pair,triplet."),
        Setting("method.relation"),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(help="deocclusion: hard or soft, of instance relations."),
        Setting("method.target"),
    ] = None
    teacher_cache: Annotated[
        Path | None, typer.Option(help="HDF5 file of the teacher's templates.")
    ] = None
    real: Annotated[
        tuple[str, ...],
        typer.Option(metavar="DATA", help="Crops of people who really wear masks; repeatable."),
    ] = ()
    unnamed: Annotated[
        tuple[str, ...],
        typer.Option(metavar="DATA", help="Likewise, of people nobody has named; repeatable."),
    ] = ()
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="Pair list to check on; keeps the best weights."),
    ] = None
    pair_crops: Annotated[str | None, typer.Option(help="Crops of the pair list.")] = None


@dataclass(frozen=True)
class CutOptions(Checked):
    """What to cut masks out of.

    Attributes:
        most: crops are taken in an order without chance or preference.
    """

    data: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="DATA...", help="Aligned crops of masked people."),
    ]
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "worn.safetensors"
    )
    most: Annotated[int, typer.Option(help="Stop at so many masks."), Within(1)] = 2000
    preview: Annotated[
        Path | None,
        typer.Option(help="Write a contact sheet of the first masks."),
        PictureName,
    ] = None
    run: Annotated[RunOptions, Some("workers", "batch_size", "device", "force")] = field(
        default_factory=RunOptions
    )


@dataclass(frozen=True)
class CurvesOptions:
    """What `mfrkit curves` draws."""

    runs: Annotated[
        tuple[Path, ...],
        typer.Argument(metavar="RUN...", help="Run folders, their models, or history.jsonl files."),
    ]
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .png, .svg, .pdf or .html.")
    ] = Path("curves.png")
    force: Force = False
