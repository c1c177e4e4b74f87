"""mfrkit synth-mask."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import ImageFormat, Seed, default_input
from mfrkit.cli.run_options import takes_run_options
from mfrkit.config import RunOptions


@takes_run_options
def synth_mask(
    ctx: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="SRC", help="Crops: folder, picture, manifest or -.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "masked"
    ),
    types: Annotated[
        str, typer.Option("--type", help="Mask kinds with weights: surgical:3,n95:1,cloth:1.")
    ] = "surgical,n95,cloth",
    color: Annotated[
        str | None,
        typer.Option("--color", help="Colours, by name or #rrggbb, separated by commas."),
    ] = None,
    texture: Annotated[
        str | None, typer.Option("--texture", help="Textures of cloth masks, separated by commas.")
    ] = None,
    coverage: Annotated[
        str | None, typer.Option("--coverage", help="How far up the nose, separated by commas.")
    ] = None,
    seed: Seed = 0,
    region: Annotated[
        bool, typer.Option("--region/--no-region", help="Write a PNG of the covered region too.")
    ] = True,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="Write a contact sheet of the first faces.")
    ] = None,
    image_format: ImageFormat = "png",
    *,
    run: RunOptions,
) -> None:
    """Put a synthetic mask on every face and record exactly what was drawn.

    SRC is crops/ unless named. The same seed gives the same bytes, whatever the batch size, the
    number of workers or the shard.

    Example: mfrkit synth-mask crops -o masked --type surgical:3,cloth:1 --seed 7
    """
    source = default_input(source, "crops", "mfrkit align PHOTOS")
    from mfrkit.stages.synth_mask import SynthMaskOptions
    from mfrkit.stages.synth_mask import synth_mask as run_stage

    options = SynthMaskOptions(
        source=source,
        output=output,
        types=types,
        color=color,
        texture=texture,
        coverage=coverage,
        seed=seed,
        region=region,
        preview=preview,
        image_format=image_format,
        run=run,
    )
    run_stage(options, ctx.obj)
