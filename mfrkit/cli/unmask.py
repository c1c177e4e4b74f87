"""mfrkit unmask."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def unmask(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="EMB", help="Embedding file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name, or file of distill --method eum.")
    ] = "eum",
    only_masked: Annotated[
        bool, typer.Option("--only-masked", help="Change the rows marked as masked alone.")
    ] = False,
    force: Force = False,
) -> None:
    """Move the templates of masked faces to where those of the bare faces would be.

    Rows, keys and everything else stay as they are; the recogniser itself is not needed.

    Example: mfrkit embed demo/masked --model arcface -o arcface.h5 && mfrkit unmask arcface.h5
    -o unmasked.h5
    """
    from mfrkit.stages.unmask import UnmaskOptions
    from mfrkit.stages.unmask import unmask as run

    run(UnmaskOptions(source, output, model, only_masked, force), ctx.obj)
