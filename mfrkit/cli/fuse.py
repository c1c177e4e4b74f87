"""mfrkit fuse."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def fuse(
    ctx: typer.Context,
    parts: Annotated[
        list[Path], typer.Argument(help="Embedding files of the same pictures, by several models.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Of each file's cosine: 2,1.", show_default="all alike"),
    ] = None,
    force: Force = False,
) -> None:
    """Fuse several models' embeddings into one file, whose cosine is the mean of theirs.

    Rows are matched by key and follow the first file.

    Example: mfrkit embed demo/crops --model arcface -o arcface.h5 && mfrkit fuse demo/clean.h5
    arcface.h5 -o fused.h5 --weights 2,1
    """
    from mfrkit.stages.fuse import FuseOptions, parse_weights
    from mfrkit.stages.fuse import fuse as run

    run(FuseOptions(parts, output, parse_weights(weights) if weights else (), force), ctx.obj)
