"""mfrkit cut-masks."""

import typer

from mfrkit.cli.options import takes
from mfrkit.training.options import CutOptions


@takes(CutOptions)
def cut_masks(ctx: typer.Context, options: CutOptions) -> None:
    """Cut the masks out of photos of people who really wear them.

    Drawn masks can then be of the kind `worn`: synth-mask --worn-from, masks.worn_from in training.

    Example: mfrkit cut-masks demo/masked -o worn.safetensors --preview worn.png
    """
    from mfrkit.training.cut_masks import cut_masks as run

    run(options, ctx.obj)
