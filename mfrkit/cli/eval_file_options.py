"""The options of `mfrkit eval` that name files; the command receives them as `files`."""

from pathlib import Path
from typing import Annotated, TypedDict

import typer

from mfrkit.cli.option_groups import option_group

_CROPS = "crops"

Templates = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Pool: `image template media`, or CSV.")
]
ScoresIn = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="Evaluate scores; without PAIRS, theirs.")
]
Scores = Annotated[Path | None, typer.Option(metavar="TSV", help="Write every pair's score.")]
Table = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables: .md or .tex.")]
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
        show_default=_CROPS,
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


class EvalFiles(TypedDict):
    """The options, under the names they have in `mfrkit.stages.eval_options.EvalOptions`."""

    templates: Path | None
    scores_in: tuple[Path, ...]
    scores: Path | None
    table: Path | None
    plots: tuple[Path, ...]
    report: Path | None
    crops: tuple[str, ...]
    probe_crops: tuple[str, ...]
    pictures: tuple[Path, ...]


def eval_files(
    templates: Templates = None,
    scores_in: ScoresIn = None,
    scores: Scores = None,
    table: Table = None,
    plot: Plots = None,
    report: Report = None,
    crops: Crops = None,
    probe_crops: ProbeCrops = None,
    thumbnails: Thumbnails = True,
    picture: Pictures = None,
) -> EvalFiles:
    """Collect the options; crops/ serves the report if it is there and no other is named."""
    usual = [_CROPS] if report and Path(_CROPS).is_dir() else []
    return EvalFiles(
        templates=templates,
        scores_in=tuple(scores_in or ()),
        scores=scores,
        table=table,
        plots=tuple(plot or ()),
        report=report,
        crops=tuple(crops or usual) if thumbnails else (),
        probe_crops=tuple(probe_crops or ()) if thumbnails else (),
        pictures=tuple(picture or ()),
    )


takes_eval_files = option_group("files", eval_files)
