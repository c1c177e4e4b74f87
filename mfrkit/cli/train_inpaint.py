"""mfrkit train-inpaint."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli import train_options as shared
from mfrkit.cli.options import Force, Seed, default_input
from mfrkit.cli.run_options import Device, DryRun, Resume, Workers, run_options


def train_inpaint(
    ctx: typer.Context,
    data: shared.Data = None,
    output: shared.Output = Path("completion.safetensors"),
    preset: Annotated[
        str, typer.Option("--preset", help="small or paper; g2d, g2d-paper.")
    ] = "small",
    config: shared.Config = None,
    assign: shared.Assignments = None,
    init: Annotated[str | None, typer.Option("--init", help="Model file to start from.")] = None,
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
    """Train a generator that draws what a mask hides, on crops with masks drawn as it goes.

    DATA is crops/ unless named. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit train-inpaint demo/crops -o completion.safetensors --steps 100
    """
    from mfrkit.stages.train_inpaint import train_inpaint as run
    from mfrkit.stages.train_request import TrainRequest

    fit = {"steps": steps, "batch_size": batch_size, "lr": lr}
    request = TrainRequest(
        data=tuple(data or [default_input(None, "crops", "mfrkit align PHOTOS")]),
        output=output,
        preset=preset,
        config=config,
        assignments=tuple(assign or ()),
        flags={"model": {"init": init}, "fit": fit},
        seed=seed,
        command=shared.command_line(),
        run=run_options(workers, 1, device, resume, force, dry_run),
    )
    run(request, ctx.obj)
