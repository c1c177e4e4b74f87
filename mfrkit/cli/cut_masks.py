"""mfrkit cut-masks."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import BatchSize, Device, Force, Workers, run_options


def cut_masks(
    ctx: typer.Context,
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="Aligned crops of masked people.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "worn.safetensors"
    ),
    most: Annotated[int, typer.Option("--most", help="Stop at so many masks.")] = 2000,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="Write a contact sheet of the first masks.")
    ] = None,
    batch_size: BatchSize = 32,
    workers: Workers = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Cut the masks out of photos of people who really wear them.

    Drawn masks can then be of the kind `worn`: synth-mask --worn-from, masks.worn_from in training.

    Example: mfrkit cut-masks demo/masked -o worn.safetensors --preview worn.png
    """
    from mfrkit.training.cut_masks import CutOptions
    from mfrkit.training.cut_masks import cut_masks as run

    options = run_options(workers, batch_size, device, force=force)
    run(CutOptions(tuple(data), output, most, preview, options), ctx.obj)
