"""The options of `mfrkit eval` that name files beside the embeddings."""

from pathlib import Path
from typing import Annotated

import typer

Templates = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Pool pictures: `image template media`, or CSV."),
]
ScoresIn = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Evaluate these scores too; without PAIRS, its pairs."),
]
Scores = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write every pair's score to this TSV file.")
]
Table = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the table: a .md or .tex file.")
]
Plots = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Draw DET, ROC and histograms: a .png, .svg or .pdf file."),
]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page.")]
Crops = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SRC",
        help="Crops of the page's worst pairs; one for all EMB, or one each.",
        show_default="crops",
    ),
]
ProbeCrops = Annotated[
    list[str] | None,
    typer.Option(metavar="SRC", help="Crops of second images where --probes are given."),
]
Thumbnails = Annotated[
    bool, typer.Option("--thumbnails/--no-thumbnails", help="Show the worst pairs as pictures.")
]
Pictures = Annotated[
    list[Path] | None, typer.Option(metavar="PNG", help="Show this on the page too.")
]


def crop_folders(given: list[str] | None, default: str = "crops") -> tuple[str, ...]:
    """Return the folders of crops that were named, or the default one if it is there."""
    if given:
        return tuple(given)
    return (default,) if Path(default).is_dir() else ()
