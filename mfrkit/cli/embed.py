"""mfrkit embed."""

import typer

from mfrkit.cli.options import takes
from mfrkit.stages.options import EmbedOptions


@takes(EmbedOptions)
def embed(ctx: typer.Context, options: EmbedOptions) -> None:
    """Write one embedding per aligned face to HDF5, in input order.

    SRC is crops/ unless named. Records pass through to standard output, so that another command
    of a pipeline can read the same crops.

    Example: mfrkit embed demo/crops -o embeddings.h5
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.embed import embed as run

    spread(run, options, ctx.obj)
