"""mfrkit curves."""

import typer

from mfrkit.cli.options import takes
from mfrkit.training.options import CurvesOptions


@takes(CurvesOptions)
def curves(ctx: typer.Context, options: CurvesOptions) -> None:
    """Draw how training went: losses, checks and learning rate of one or several runs.

    Several runs lie over each other, each named by its folder. A run may still be going on.

    Example: mfrkit distill demo/crops -o student.safetensors --steps 2 --batch-size 4
    && mfrkit curves student.run -o curves.html
    """
    from mfrkit.training.curves import curves as run

    run(options, ctx.obj)
