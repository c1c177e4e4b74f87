"""mfrkit models: what is bundled, what a model file holds, and files of other forms."""

from typing import Annotated

import typer

from mfrkit.cli.models_add import add
from mfrkit.cli.models_average import average
from mfrkit.cli.models_calibrate import calibrate
from mfrkit.cli.models_combine import combine
from mfrkit.cli.models_export import export
from mfrkit.errors import InputError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]


@app.callback()
def models() -> None:
    """List the bundled models, show the card of one, or make model files of other models.

    Wherever a command takes a model, a bundled name and a .safetensors file of mfrkit both do.

    Example: mfrkit models show arcface
    """


@app.command("list")
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the bundled models: name, task, size, parameters, licence and source.

    Example: mfrkit models list
    """
    from mfrkit.stages.models import list_models

    list_models(ctx.obj, as_json=json)


@app.command("show")
def show(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Bundled name or model file.")],
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a page of Markdown instead of a table.")
    ] = False,
) -> None:
    """Show a model's whole card, its metrics, and whether its file is intact.

    Example: mfrkit models show mfr --markdown
    """
    from mfrkit.stages.model_card import show_card
    from mfrkit.stages.models import show_model

    if json and markdown:
        raise InputError("--json and --markdown: choose one of them")
    if markdown:
        show_card(model, ctx.obj)
    else:
        show_model(model, ctx.obj, as_json=json)


app.command("add")(add)
app.command("average")(average)
app.command("calibrate")(calibrate)
app.command("combine")(combine)
app.command("export")(export)
