"""mfrkit models combine."""

from pathlib import Path
from typing import Annotated

import typer


def combine(
    ctx: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
    ],
    unmasked: Annotated[
        str, typer.Option(metavar="MODEL", help="Recogniser of bare faces.")
    ] = "arcface",
    masked: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            show_default="maskinv",
            help="Recogniser of masked faces; more than one are averaged.",
        ),
    ] = None,
    region: Annotated[
        str, typer.Option(metavar="MODEL", help="Region predictor that tells them apart.")
    ] = "region",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier FILE.")] = False,
) -> None:
    """Make one recogniser of several that share an embedding space, as teacher and students do.

    A face found bare goes to one of them, a masked face to the others.

    Example: mfrkit models combine --masked student.safetensors -o both.safetensors
    """
    from mfrkit.stages.combine import CombineOptions, combine_models

    options = CombineOptions(output, unmasked, tuple(masked or ("maskinv",)), region, force)
    combine_models(options, ctx.obj)
