"""mfrkit identify: search faces among known people."""

import typer

from mfrkit.cli.options import takes
from mfrkit.evaluation.options import IdentifyOptions


@takes(IdentifyOptions)
def identify(ctx: typer.Context, options: IdentifyOptions) -> None:
    """Search every probe among the people of a gallery.

    Closed set: how many are found at rank 1, 5, 10. Open set: FNIR and DIR while at most a share
    FPIR of the strangers, the probes of people the gallery does not have, is taken for somebody.
    Who is on a photo is read from the file, or is the folder the photo lies in. A probe that is
    in the gallery itself is searched without its own photo. (mfrkit search takes photos that
    nobody has named yet.)

    Example: mfrkit identify demo/clean.h5 demo/masked.h5 --top 2 -o hits.jsonl
    """
    from mfrkit.evaluation.identify import identify as run

    run(options, ctx.obj)
