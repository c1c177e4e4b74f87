"""mfrkit embed."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import (
    BatchSize,
    Device,
    DryRun,
    Force,
    MaxSkipped,
    Resume,
    ShardOption,
    Workers,
    default_input,
    run_options,
)


def embed(
    ctx: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="SRC", help="Crops: folder, picture, manifest or -.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")] = Path(
        "embeddings.h5"
    ),
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name or model file.")
    ] = "arcface",
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Average each face with its mirror image.")
    ] = True,
    workers: Workers = None,
    batch_size: BatchSize = 32,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    shard: ShardOption = "1/1",
    max_skipped: MaxSkipped = None,
) -> None:
    """Write one embedding per aligned face to HDF5, in input order.

    SRC is crops/ unless named. Records pass through to standard output, so that another command
    of a pipeline can read the same crops.

    Example: mfrkit embed crops -o embeddings.h5 --model arcface
    """
    source = default_input(source, "crops", "mfrkit align PHOTOS")
    from mfrkit.stages.embed import EmbedOptions
    from mfrkit.stages.embed import embed as run

    options = EmbedOptions(
        source=source,
        output=output,
        model=model,
        flip=flip,
        run=run_options(workers, batch_size, device, resume, force, dry_run, shard, max_skipped),
    )
    run(options, ctx.obj)
