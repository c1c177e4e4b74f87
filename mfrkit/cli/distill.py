"""mfrkit distill."""

from pathlib import Path

import typer

from mfrkit.cli import distill_options as words
from mfrkit.cli import train_options as shared
from mfrkit.cli.options import Force, Seed, default_input
from mfrkit.cli.run_options import Device, DryRun, Resume, Workers, run_options


def distill(
    ctx: typer.Context,
    data: shared.Data = None,
    output: shared.Output = Path("student.safetensors"),
    teacher: words.Teachers = None,
    method: words.Method = "maskinv",
    phase: words.Phase = 0,
    preset: words.Preset = "small",
    config: shared.Config = None,
    assign: shared.Assignments = None,
    student: words.Student = None,
    init: words.Init = None,
    relation: words.Relation = None,
    target: words.Target = None,
    steps: shared.Steps = None,
    batch_size: shared.FacesPerStep = None,
    lr: shared.Rate = None,
    teacher_cache: words.TeacherCache = None,
    real: words.Real = None,
    unnamed: words.Unnamed = None,
    pairs: words.Pairs = None,
    pair_crops: words.PairCrops = None,
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
    from mfrkit.stages.distill import distill as run
    from mfrkit.stages.distill_settings import DistillRequest

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
        command=shared.command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)
