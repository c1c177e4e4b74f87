"""mfrkit models add."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Colour, Force, Mean, Std


def add(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Recogniser of another program: .pt, .pth, .ckpt."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Model file.", show_default="NAME.safetensors"
        ),
    ] = None,
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "",
    source: Annotated[str, typer.Option(help="Where the weights come from.")] = "",
    paper: Annotated[str, typer.Option(help="The publication.")] = "",
    data: Annotated[str, typer.Option(help="What they were trained on.")] = "",
    colour: Colour = None,
    mean: Mean = None,
    std: Std = None,
    force: Force = False,
) -> None:
    """Make a model file of somebody else's recogniser, with its card inside.

    It then loads without pickle, can start a student (distill --init), be combined and exported,
    and tells whoever gets it where it comes from. How it is fed is assumed from its family, and
    said; --colour, --mean and --std say it yourself.

    Example: mfrkit models add r50.pth -o r50.safetensors --licence "non-commercial research only"
    """
    from mfrkit.stages.add_model import Origin, add_model

    origin, fed = Origin(licence, source, paper, data), (colour, mean, std)
    made = output or Path(f"{file.stem}.safetensors")
    add_model(file, made, origin, ctx.obj, fed=fed, force=force)
