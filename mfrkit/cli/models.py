"""mfrkit models: what is bundled, what a model file holds, and making files of other files."""

from typing import Annotated

import typer

from mfrkit.cli.options import takes
from mfrkit.errors import InputError
from mfrkit.evaluation.options import CalibrateOptions
from mfrkit.options import Json
from mfrkit.stages.file_options import AddOptions, AverageOptions, CombineOptions, OnnxOptions


@takes(AddOptions)
def add(ctx: typer.Context, options: AddOptions) -> None:
    """Make a model file of somebody else's recogniser, with its card inside.

    It then loads without pickle, can start a student (distill --init), be combined and exported,
    and tells whoever gets it where it comes from. How it is fed is assumed from its family, and
    said; --colour, --mean and --std say it yourself.

    Example: mfrkit models add r50.pth -o r50.safetensors --licence "non-commercial research only"
    """
    from mfrkit.stages.model_tools import add_model

    add_model(options, ctx.obj)


@takes(AverageOptions)
def average(ctx: typer.Context, options: AverageOptions) -> None:
    """Make a model whose weights lie between two others'.

    A student half-way back to what it started from often beats both: it has learned the new and
    not forgotten the old.

    Example: mfrkit models average maskinv arcface --share 0.5 -o between.safetensors
    """
    from mfrkit.stages.model_tools import average_models

    average_models(options, ctx.obj)


@takes(CalibrateOptions)
def calibrate(ctx: typer.Context, options: CalibrateOptions) -> None:
    """Set a recogniser's thresholds for bare and masked faces, and write them into its card.

    Everybody is compared with everybody. Take people it was not trained on.

    Example: mfrkit models calibrate mfr --unmasked demo/clean.h5 --masked demo/masked.h5
    --fmr 0.5 -o calibrated.safetensors
    """
    from mfrkit.evaluation.all_pairs import calibrate as run

    run(options, ctx.obj)


@takes(CombineOptions)
def combine(ctx: typer.Context, options: CombineOptions) -> None:
    """Make one recogniser of several.

    Of one embedding space, as teacher and students share: a face found bare goes to one of them, a
    masked face to the others. Of different spaces (--beside): the cosine is the mean of theirs.

    Example: mfrkit models combine --beside maskinv --beside edgeface -o both.safetensors
    """
    from mfrkit.stages.model_tools import combine_models

    combine_models(options, ctx.obj)


@takes(OnnxOptions)
def export(ctx: typer.Context, options: OnnxOptions) -> None:
    """Write a recogniser as an ONNX file, for programs without torch.

    It takes float32 (N, 3, 112, 112), RGB as (v - 127.5) / 127.5, and gives (N, D) embeddings, as
    InsightFace's files do. The file is tried in ONNX Runtime before it gets its name.

    Example: mfrkit models export mfr -o mfr.onnx
    """
    from mfrkit.stages.model_tools import export_model

    export_model(options, ctx.obj)


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


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
    from mfrkit.stages.models import show_card, show_model

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
