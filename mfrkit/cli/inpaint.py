"""mfrkit inpaint."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import ImageFormat, default_input, takes_run_options
from mfrkit.config import RunOptions


@takes_run_options
def inpaint(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(metavar="SRC", help="Masked crops: folder, picture, manifest or -."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "completed"
    ),
    model: Annotated[
        str, typer.Option("--model", "-m", help="Completion generator: name or model file.")
    ] = "completion",
    region: Annotated[
        str,
        typer.Option("--region", metavar="predicted|manifest|DIR", help="Where regions come from."),
    ] = "predicted",
    region_model: Annotated[
        str | None, typer.Option("--region-model", help="Region predictor: name or model file.")
    ] = None,
    save_region: Annotated[
        bool, typer.Option("--save-region", help="Write each region as PNG too.")
    ] = False,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="Contact sheet of the first faces.")
    ] = None,
    image_format: ImageFormat = "png",
    *,
    run: RunOptions,
) -> None:
    """Draw what a mask hides, and pass faces without mask through unchanged.

    SRC is masked/ unless named. Every record says how much of the face was covered and whether
    that makes it a masked one.

    Example: mfrkit inpaint demo/masked -o completed --preview completed.png
    """
    source = default_input(source, "masked", "mfrkit synth-mask")
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.inpaint import inpaint as run_stage
    from mfrkit.stages.options import InpaintOptions

    options = InpaintOptions(
        source=source,
        output=output,
        model=model,
        region=region,
        region_model=region_model,
        save_region=save_region,
        preview=preview,
        image_format=image_format,
        run=run,
    )
    spread(run_stage, options, ctx.obj)
