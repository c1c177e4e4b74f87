"""mfrkit align."""

import typer

from mfrkit.cli.options import takes
from mfrkit.stages.options import AlignOptions


@takes(AlignOptions)
def align(ctx: typer.Context, options: AlignOptions) -> None:
    """Find faces in photos and cut them out, eyes and mouth at the same place in every crop.

    A crop is fitted by the upper part of the face, which a mask leaves alone. The manifest.jsonl
    has box, score, pose, 68 landmarks and the 2x3 matrix from photo to crop of every face; a photo
    without one is recorded as skipped. Frames of video clips have keys such as hall/000123.

    Example: mfrkit align demo/photos -o crops
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.align import align as run

    spread(run, options, ctx.obj)
