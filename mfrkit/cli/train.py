"""mfrkit distill, train-inpaint, train-region and train-landmarks.

What they share stands first; every other setting is a key of a TOML file or of `--set`.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import (
    Device,
    DryRun,
    Force,
    Resume,
    Seed,
    Workers,
    default_input,
    run_options,
)

Data = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA...", help="Crops: folders, manifests, .rec, .tar; repeatable."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.NAME=VALUE", help="One setting; may be repeated."),
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps.")]
FacesPerStep = Annotated[
    int | None,
    typer.Option("--batch-size", "-b", help="Faces per step, over all processes."),
]
Rate = Annotated[float | None, typer.Option("--lr", help="Highest learning rate.")]


def command_line() -> str:
    """Return the command line of this process, for a model card."""
    return shlex.join(["mfrkit", *sys.argv[1:]])


Teachers = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        "-t",
        help="Bundled name or file, also .onnx, .pth; repeatable.",
        show_default="arcface",
    ),
]
Method = Annotated[str, typer.Option("--method", help="maskinv, deocclusion, meer, g2d or eum.")]
Phase = Annotated[
    int, typer.Option("--phase", help="Of g2d: 1 encoder, 2 reformer, 3 classifier; 0 all.")
]
Preset = Annotated[str, typer.Option("--preset", help="small or paper; paper-hg, small-resnet22.")]
Student = Annotated[
    str | None,
    typer.Option(
        "--student", help="mobilefacenet, edgeface, iresnet18 to iresnet200; g2d: resnet22."
    ),
]
Init = Annotated[str | None, typer.Option("--init", help="teacher, scratch or a model.")]
Relation = Annotated[
    str | None, typer.Option("--relation", help="deocclusion: some of instance,pair,triplet.")
]
Target = Annotated[
    str | None, typer.Option("--target", help="deocclusion: hard or soft, of instance relations.")
]
TeacherCache = Annotated[
    Path | None, typer.Option("--teacher-cache", help="HDF5 file of the teacher's templates.")
]
Pairs = Annotated[
    Path | None, typer.Option("--pairs", help="Pair list to check on; keeps the best weights.")
]
PairCrops = Annotated[str | None, typer.Option("--pair-crops", help="Crops of the pair list.")]
Real = Annotated[
    list[str] | None,
    typer.Option(
        "--real", metavar="DATA", help="Crops of people who really wear masks; repeatable."
    ),
]
Unnamed = Annotated[
    list[str] | None,
    typer.Option(
        "--unnamed", metavar="DATA", help="Likewise, of people nobody has named; repeatable."
    ),
]


def distill(
    ctx: typer.Context,
    data: Data = None,
    output: Output = Path("student.safetensors"),
    teacher: Teachers = None,
    method: Method = "maskinv",
    phase: Phase = 0,
    preset: Preset = "small",
    config: Config = None,
    assign: Assignments = None,
    student: Student = None,
    init: Init = None,
    relation: Relation = None,
    target: Target = None,
    steps: Steps = None,
    batch_size: FacesPerStep = None,
    lr: Rate = None,
    teacher_cache: TeacherCache = None,
    real: Real = None,
    unnamed: Unnamed = None,
    pairs: Pairs = None,
    pair_crops: PairCrops = None,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Train a student that recognises masked faces, from a teacher that sees them unmasked.

    DATA is crops/ unless named. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit distill demo/crops -o student.safetensors --teacher arcface --steps 100
    """
    from mfrkit.training.distill import distill as run
    from mfrkit.training.distill_settings import DistillRequest

    flags: dict[str, dict[str, object]] = {
        "model": {"student": student, "init": init},
        "method": {"relation": relation, "target": target},
        "fit": {"steps": steps, "batch_size": batch_size, "lr": lr},
    }
    request = DistillRequest(
        data=tuple(data or [default_input(None, "crops", "mfrkit align PHOTOS")]),
        output=output,
        teachers=tuple(teacher or ()),
        method=method,
        phase=phase,
        preset=preset,
        config=config,
        assignments=tuple(assign or ()),
        flags=flags,
        seed=seed,
        teacher_cache=teacher_cache,
        real=tuple(real or ()),
        unnamed=tuple(unnamed or ()),
        pairs=pairs,
        pair_crops=pair_crops,
        command=command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)


def train_inpaint(
    ctx: typer.Context,
    data: Data = None,
    output: Output = Path("completion.safetensors"),
    preset: Annotated[
        str, typer.Option("--preset", help="small or paper; g2d, g2d-paper.")
    ] = "small",
    config: Config = None,
    assign: Assignments = None,
    init: Annotated[str | None, typer.Option("--init", help="Model file to start from.")] = None,
    steps: Steps = None,
    batch_size: FacesPerStep = None,
    lr: Rate = None,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Train a generator that draws what a mask hides, on crops with masks drawn as it goes.

    DATA is crops/ unless named. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit train-inpaint demo/crops -o completion.safetensors --steps 100
    """
    from mfrkit.training.inpaint import train_inpaint as run
    from mfrkit.training.settings import TrainRequest

    fit = {"steps": steps, "batch_size": batch_size, "lr": lr}
    request = TrainRequest(
        data=tuple(data or [default_input(None, "crops", "mfrkit align PHOTOS")]),
        output=output,
        preset=preset,
        config=config,
        assignments=tuple(assign or ()),
        flags={"model": {"init": init}, "fit": fit},
        seed=seed,
        command=command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)


def train_region(
    ctx: typer.Context,
    data: Data = None,
    output: Output = Path("region.safetensors"),
    preset: Annotated[str, typer.Option("--preset", help="small or large.")] = "small",
    config: Config = None,
    assign: Assignments = None,
    steps: Steps = None,
    batch_size: FacesPerStep = None,
    lr: Rate = None,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Train the network that finds what covers a face, from masks drawn as it goes.

    DATA is crops/ unless named. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit train-region demo/crops -o region.safetensors --steps 100
    """
    from mfrkit.training.region import train_region as run
    from mfrkit.training.settings import TrainRequest

    request = TrainRequest(
        data=tuple(data or [default_input(None, "crops", "mfrkit align PHOTOS")]),
        output=output,
        preset=preset,
        config=config,
        assignments=tuple(assign or ()),
        flags={"fit": {"steps": steps, "batch_size": batch_size, "lr": lr}},
        seed=seed,
        command=command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)


def train_landmarks(
    ctx: typer.Context,
    data: Data = None,
    output: Output = Path("landmarks.safetensors"),
    real: Annotated[
        list[str] | None,
        typer.Option("--real", metavar="DATA", help="Crops of really masked faces; repeatable."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", help="Model to begin with.  [default: facemesh]"),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="small.")] = "small",
    config: Config = None,
    assign: Assignments = None,
    steps: Steps = None,
    batch_size: FacesPerStep = None,
    lr: Rate = None,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Teach the mesh network of align what lies under masks, drawn as it goes.

    DATA is crops/ unless named: faces without masks, best with context round them, as align --size
    224 --margin 0.5 makes them. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit train-landmarks demo/crops -o landmarks.safetensors --steps 100
    """
    from mfrkit.training.landmarks import train_landmarks as run
    from mfrkit.training.settings import TrainRequest

    source = "mfrkit align PHOTOS --size 224 --margin 0.5"
    request = TrainRequest(
        data=tuple(data or [default_input(None, "crops", source)]),
        output=output,
        preset=preset,
        config=config,
        assignments=tuple(assign or ()),
        flags={
            "model": {"start": start},
            "real": {"data": real or None},
            "fit": {"steps": steps, "batch_size": batch_size, "lr": lr},
        },
        seed=seed,
        command=command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)
