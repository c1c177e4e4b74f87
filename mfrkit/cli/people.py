"""mfrkit verify and search: who is on photos."""

from typing import Annotated

import typer

from mfrkit.cli.options import takes
from mfrkit.recognition.options import SearchOptions, VerifyOptions


@takes(VerifyOptions)
def verify(
    ctx: typer.Context,
    options: VerifyOptions,
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 if any pair is different.")
    ] = False,
) -> None:
    """Say whether photos show the same person, with masks or without.

    Finds the faces, sees who wears a mask, and holds their similarity against the threshold the
    model's card has for that. The large face near the middle of a photo counts. Prints a table on
    a terminal and one JSON record a pair elsewhere.

    Example: mfrkit verify demo/photos/*/*_0001.jpg
    """
    from mfrkit.recognition.verify import verify as run

    pairs = run(options, ctx.obj)
    if exit_code and any(pair.verdict() == "different" for pair in pairs):
        raise typer.Exit(1)


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
