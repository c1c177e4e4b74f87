"""mfrkit models combine."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.errors import InputError


def combine(
    ctx: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
    ],
    unmasked: Annotated[
        str | None,
        typer.Option(metavar="MODEL", show_default="arcface", help="Recogniser of bare faces."),
    ] = None,
    masked: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            show_default="maskinv",
            help="Recogniser of masked faces; more than one are averaged.",
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            show_default="region",
            help="Region predictor that tells them apart.",
        ),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Instead: recogniser whose cosines are averaged with the others'; repeat it.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Of each --beside: 2,1.", show_default="all alike"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier FILE.")] = False,
) -> None:
    """Make one recogniser of several.

    Of one embedding space, as teacher and students share: a face found bare goes to one of them, a
    masked face to the others. Of different spaces (--beside): the cosine is the mean of theirs.

    Example: mfrkit models combine --beside maskinv --beside edgeface -o both.safetensors
    """
    from mfrkit.stages import combine as stage
    from mfrkit.stages.fuse import parse_weights

    if beside:
        if unmasked or masked or region:
            raise InputError("--beside: goes without --unmasked, --masked and --region")
        shares = parse_weights(weights) if weights else ()
        stage.lay_side_by_side(stage.BesideOptions(output, beside, shares, force), ctx.obj)
        return
    if weights:
        raise InputError("--weights: is for models named by --beside")
    parts = (unmasked or "arcface", masked or ["maskinv"], region or "region")
    stage.combine_models(stage.CombineOptions(output, *parts, force), ctx.obj)
