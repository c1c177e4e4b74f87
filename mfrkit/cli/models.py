"""mfrkit models: what is bundled, and what a model file holds."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]


@app.callback()
def models() -> None:
    """List the bundled models, or show the card of one model.

    Wherever a command takes a model, a bundled name and a .safetensors file of mfrkit both do.

    Example: mfrkit models show arcface
    """


@app.command("list")
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the bundled models: name, task, size, parameters, licence and source."""
    from mfrkit.stages.models import list_models

    list_models(ctx.obj, as_json=json)


@app.command("show")
def show(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Bundled name or model file.")],
    json: Json = False,
) -> None:
    """Show a model's whole card, its metrics, and whether its file is intact."""
    from mfrkit.stages.models import show_model

    show_model(model, ctx.obj, as_json=json)


@app.command("combine")
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
