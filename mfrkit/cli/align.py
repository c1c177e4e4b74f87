"""mfrkit align."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import ImageFormat
from mfrkit.cli.run_options import takes_run_options
from mfrkit.config import RunOptions


@takes_run_options
def align(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder, picture, manifest or -.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "crops"
    ),
    detector: Annotated[
        str, typer.Option("--detector", help="mtcnn, face-alignment, or none: aligned already.")
    ] = "mtcnn",
    select: Annotated[
        str, typer.Option("--select", help="Which faces of a photo: center, largest or all.")
    ] = "center",
    size: Annotated[int, typer.Option("--size", help="Side of a crop; a multiple of 112.")] = 112,
    margin: Annotated[
        float, typer.Option("--margin", help="Extra context on each side, in crop sides.")
    ] = 0.0,
    min_score: Annotated[
        float, typer.Option("--min-score", help="Least detector score of a face, 0 to 1.")
    ] = 0.7,
    min_size: Annotated[
        int, typer.Option("--min-size", help="Least height of a face in the photo, pixels.")
    ] = 40,
    image_format: ImageFormat = "png",
    only: Annotated[
        Path | None, typer.Option("--only", metavar="PAIRS", help="Only photos of this pair list.")
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Find faces in photos and cut them out, eyes and mouth at the same place in every crop.

    Writes one crop per face and a manifest.jsonl with box, score, five points and the 2x3 matrix
    from photo to crop; a photo without a face is recorded as skipped.

    Example: mfrkit align photos -o crops
    """
    from mfrkit.stages.align import align as run_stage
    from mfrkit.stages.align_options import AlignOptions

    options = AlignOptions(
        source=source,
        output=output,
        detector=detector,
        select=select,
        size=size,
        margin=margin,
        min_score=min_score,
        min_size=min_size,
        image_format=image_format,
        only=only,
        run=run,
    )
    run_stage(options, ctx.obj)
