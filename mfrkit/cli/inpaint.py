"""mfrkit inpaint."""

import typer

from mfrkit.cli.options import takes
from mfrkit.stages.options import InpaintOptions


@takes(InpaintOptions)
def inpaint(ctx: typer.Context, options: InpaintOptions) -> None:
    """Draw what a mask hides, and pass faces without mask through unchanged.

    SRC is masked/ unless named. Every record says how much of the face was covered and whether
    that makes it a masked one.

    Example: mfrkit inpaint demo/masked -o completed --preview completed.png
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.inpaint import inpaint as run

    spread(run, options, ctx.obj)
