"""mfrkit align."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import ImageFormat, Preview, takes_run_options
from mfrkit.config import RunOptions

Detector = Annotated[
    str,
    typer.Option("--detector", help="yunet, mtcnn, face-alignment, or none: aligned already."),
]
Landmarks = Annotated[
    str | None,
    typer.Option(
        "--landmarks",
        help="Fit crops by the face's mesh, or by five points.",
        metavar="mesh|five",
        show_default="mesh; five with face-alignment",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        help="Least detector score of a face, 0 to 1.",
        show_default="0.6 with yunet, else 0.7",
    ),
]

Every = Annotated[
    str,
    typer.Option(
        "--every",
        metavar="N|Ns",
        help="Frames to take of a video clip: one in N, or one each N seconds.",
    ),
]


@takes_run_options
def align(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Folder, picture, video clip, manifest or -.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "crops"
    ),
    detector: Detector = "yunet",
    landmarks: Landmarks = None,
    select: Annotated[
        str, typer.Option("--select", help="Which faces of a photo: center, largest or all.")
    ] = "center",
    size: Annotated[int, typer.Option("--size", help="Side of a crop; a multiple of 112.")] = 112,
    margin: Annotated[
        float, typer.Option("--margin", help="Extra context on each side, in crop sides.")
    ] = 0.0,
    min_score: MinScore = None,
    min_size: Annotated[
        int, typer.Option("--min-size", help="Least height of a face in the photo, pixels.")
    ] = 40,
    image_format: ImageFormat = "png",
    every: Every = "1s",
    preview: Preview = None,
    only: Annotated[
        Path | None, typer.Option("--only", metavar="PAIRS", help="Only photos of this pair list.")
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Find faces in photos and cut them out, eyes and mouth at the same place in every crop.

    A crop is fitted by the upper part of the face, which a mask leaves alone. The manifest.jsonl
    has box, score, pose, 68 landmarks and the 2x3 matrix from photo to crop of every face; a photo
    without one is recorded as skipped. Frames of video clips have keys such as hall/000123.

    Example: mfrkit align demo/photos -o crops
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.align import align as run_stage
    from mfrkit.stages.options import AlignOptions
    from mfrkit.stages.options import Every as Frames

    options = AlignOptions(
        source=source,
        output=output,
        detector=detector,
        landmarks=landmarks,
        select=select,
        size=size,
        margin=margin,
        min_score=min_score,
        min_size=min_size,
        image_format=image_format,
        every=Frames.parse(every),
        preview=preview,
        only=only,
        run=run,
    )
    spread(run_stage, options, ctx.obj)
