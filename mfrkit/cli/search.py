"""mfrkit search."""

import typer

from mfrkit.cli.options import takes
from mfrkit.recognition.options import SearchOptions


@takes(SearchOptions)
def search(ctx: typer.Context, options: SearchOptions) -> None:
    """Say who is on photos: every face of every shot, a person of the gallery or unknown.

    A gallery is a folder for each person, or one photo for each, named after them. Its embeddings
    are kept beside it and made anew for photos that changed. Prints a table on a terminal and one
    JSON record a face elsewhere. (identify measures, on shots whose people are known, how well
    that works.)

    Example: mfrkit search demo/photos demo/photos/joe_biden --report who.html
    """
    from mfrkit.recognition.search import search as run

    run(options, ctx.obj)
