"""mfrkit distill."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli import train_options as shared
from mfrkit.cli.options import Force, Seed, default_input
from mfrkit.cli.run_options import Device, DryRun, Resume, Workers, run_options

TeacherNames = Annotated[
    list[str] | None,
    typer.Option("--teacher", "-t", help="Bundled name or file, also .onnx, .pth; repeatable."),
]


def distill(
    ctx: typer.Context,
    data: shared.Data = None,
    output: shared.Output = Path("student.safetensors"),
    teacher: TeacherNames = None,
    method: Annotated[str, typer.Option("--method", help="maskinv.")] = "maskinv",
    preset: Annotated[str, typer.Option("--preset", help="small, paper or paper-hg.")] = "small",
    config: shared.Config = None,
    assign: shared.Assignments = None,
    student: Annotated[
        str | None, typer.Option("--student", help="mobilefacenet, or iresnet18 to iresnet200.")
    ] = None,
    init: Annotated[str | None, typer.Option("--init", help="teacher, scratch or a model.")] = None,
    steps: shared.Steps = None,
    batch_size: shared.FacesPerStep = None,
    lr: shared.Rate = None,
    teacher_cache: Annotated[
        Path | None, typer.Option("--teacher-cache", help="HDF5 file of the teacher's templates.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="Pair list to check on; keeps the best weights.")
    ] = None,
    pair_crops: Annotated[
        str | None, typer.Option("--pair-crops", help="Crops of the pair list.")
    ] = None,
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

    Example: mfrkit distill crops -o student.safetensors --teacher arcface --steps 2000
    """
    from mfrkit.stages.distill import distill as run
    from mfrkit.stages.distill_options import DistillRequest

    fit = {"steps": steps, "batch_size": batch_size, "lr": lr}
    request = DistillRequest(
        data=tuple(data or [default_input(None, "crops", "mfrkit align PHOTOS")]),
        output=output,
        teachers=tuple(teacher or ["arcface"]),
        method=method,
        preset=preset,
        config=config,
        assignments=tuple(assign or ()),
        flags={"model": {"student": student, "init": init}, "fit": fit},
        seed=seed,
        teacher_cache=teacher_cache,
        pairs=pairs,
        pair_crops=pair_crops,
        command=shared.command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)
