"""mfrkit models average."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force

_Model = typer.Argument(metavar="NAME|FILE", help="Model; both of one architecture.")


def average(
    ctx: typer.Context,
    first: Annotated[str, _Model],
    second: Annotated[str, _Model],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
    ],
    share: Annotated[
        float, typer.Option(help="Of the second model's weights, 0 to 1; the rest is the first's.")
    ] = 0.5,
    force: Force = False,
) -> None:
    """Make a model whose weights lie between two others'.

    A student half-way back to what it started from often beats both: it has learned the new and
    not forgotten the old.

    Example: mfrkit models average maskinv arcface --share 0.5 -o between.safetensors
    """
    from mfrkit.stages.average import AverageOptions, average_models

    average_models(AverageOptions(first, second, output, share, force), ctx.obj)
