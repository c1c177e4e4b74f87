"""mfrkit models: what is bundled, what a model file holds, and making files of other files."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import takes
from mfrkit.config import REGION, TEACHER
from mfrkit.errors import InputError
from mfrkit.options import Force, Json
from mfrkit.stages.options import AddOptions


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
    from mfrkit.stages.model_tools import AverageOptions, average_models

    average_models(AverageOptions(first, second, output, share, force), ctx.obj)


def calibrate(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="Recogniser: bundled name or model file.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
    ],
    unmasked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its embeddings of bare faces.")
    ] = None,
    masked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its embeddings of masked faces.")
    ] = None,
    fmr: Annotated[
        str, typer.Option("--fmr", help="False match rates, as far as the counts allow.")
    ] = "1e-2,1e-3,1e-4",
    force: Force = False,
) -> None:
    """Set a recogniser's thresholds for bare and masked faces, and write them into its card.

    Everybody is compared with everybody. Take people it was not trained on.

    Example: mfrkit models calibrate mfr --unmasked demo/clean.h5 --masked demo/masked.h5
    --fmr 0.5 -o calibrated.safetensors
    """
    from mfrkit.evaluation import calibrate as stage
    from mfrkit.evaluation.options import parse_rates

    rates = parse_rates(fmr, "--fmr")
    stage.calibrate(stage.CalibrateOptions(model, output, unmasked, masked, rates, force), ctx.obj)


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
    from mfrkit.stages import model_tools as stage
    from mfrkit.stages.vectors import parse_weights

    if beside:
        if unmasked or masked or region:
            raise InputError("--beside: goes without --unmasked, --masked and --region")
        shares = parse_weights(weights) if weights else ()
        stage.lay_side_by_side(stage.BesideOptions(output, beside, shares, force), ctx.obj)
        return
    if weights:
        raise InputError("--weights: is for models named by --beside")
    parts = (unmasked or TEACHER, masked or ["maskinv"], region or REGION)
    stage.combine_models(stage.CombineOptions(output, *parts, force), ctx.obj)


def export(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="NAME|FILE", help="Recogniser: whatever embed --model takes."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="ONNX file.", show_default="NAME.onnx"),
    ] = None,
    force: Force = False,
) -> None:
    """Write a recogniser as an ONNX file, for programs without torch.

    It takes float32 (N, 3, 112, 112), RGB as (v - 127.5) / 127.5, and gives (N, D) embeddings, as
    InsightFace's files do. The file is tried in ONNX Runtime before it gets its name.

    Example: mfrkit models export mfr -o mfr.onnx
    """
    from mfrkit.stages.model_tools import export_model

    export_model(model, output or Path(f"{Path(model).stem}.onnx"), ctx.obj, force=force)


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
