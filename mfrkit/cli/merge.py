"""mfrkit merge."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def merge(
    ctx: typer.Context,
    parts: Annotated[list[Path], typer.Argument(help="Embedding files, one for each shard.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    force: Force = False,
) -> None:
    """Join the shards of an embedding run into one HDF5 file, rows in input order.

    Files that are no shards follow each other in the order given. Parts made with another model,
    or holding the same key twice, are refused.

    Example: mfrkit embed demo/crops -o 1.h5 --shard 1/2 && mfrkit embed demo/crops -o 2.h5
    --shard 2/2 && mfrkit merge 1.h5 2.h5 -o all.h5
    """
    from mfrkit.stages.merge import MergeOptions
    from mfrkit.stages.merge import merge as run

    run(MergeOptions(parts, output, force), ctx.obj)
