"""mfrkit train-landmarks."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli import train_options as shared
from mfrkit.cli.options import Force, Seed, default_input
from mfrkit.cli.run_options import Device, DryRun, Resume, Workers, run_options


def train_landmarks(
    ctx: typer.Context,
    data: shared.Data = None,
    output: shared.Output = Path("landmarks.safetensors"),
    real: Annotated[
        list[str] | None,
        typer.Option("--real", metavar="DATA", help="Crops of really masked faces; repeatable."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", help="Model to begin with.  [default: facemesh]"),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="small.")] = "small",
    config: shared.Config = None,
    assign: shared.Assignments = None,
    steps: shared.Steps = None,
    batch_size: shared.FacesPerStep = None,
    lr: shared.Rate = None,
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
    from mfrkit.stages.train_landmarks import train_landmarks as run
    from mfrkit.stages.train_request import TrainRequest

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
        command=shared.command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)
