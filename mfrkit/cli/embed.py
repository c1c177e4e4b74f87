"""mfrkit embed."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Colour, Mean, Std, default_input, takes_run_options
from mfrkit.config import RunOptions


@takes_run_options
def embed(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(metavar="SRC", help="Crops: folder, picture, manifest, .rec, .tar or -."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")] = Path(
        "embeddings.h5"
    ),
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name or model file, .onnx, .pth, .ckpt.")
    ] = "mfr",
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Average each face with its mirror image.")
    ] = True,
    colour: Colour = None,
    mean: Mean = None,
    std: Std = None,
    detect_mask: Annotated[
        bool, typer.Option("--detect-mask", help="Look at each face and note if it is masked.")
    ] = False,
    region_model: Annotated[
        str, typer.Option("--region-model", help="Region predictor that looks: name or file.")
    ] = "region",
    *,
    run: RunOptions,
) -> None:
    """Write one embedding per aligned face to HDF5, in input order.

    SRC is crops/ unless named. Records pass through to standard output, so that another command
    of a pipeline can read the same crops.

    Example: mfrkit embed demo/crops -o embeddings.h5
    """
    source = default_input(source, "crops", "mfrkit align PHOTOS")
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.embed import EmbedOptions
    from mfrkit.stages.embed import embed as run_stage

    options = EmbedOptions(
        source=source,
        output=output,
        model=model,
        flip=flip,
        fed=(colour, mean, std),
        mask_model=region_model if detect_mask else None,
        run=run,
    )
    spread(run_stage, options, ctx.obj)
