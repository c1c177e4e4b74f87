"""mfrkit models add."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


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
    force: Force = False,
) -> None:
    """Make a model file of somebody else's recogniser, with its card inside.

    It then loads without pickle, can start a student (distill --init), be combined and exported,
    and tells whoever gets it where it comes from.

    Example: mfrkit models add r50.pth -o r50.safetensors --licence "non-commercial research only"
    """
    from mfrkit.stages.add_model import Origin, add_model

    origin = Origin(licence, source, paper, data)
    add_model(file, output or Path(f"{file.stem}.safetensors"), origin, ctx.obj, force=force)
