"""mfrkit curves."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def curves(
    ctx: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders, their models, or history.jsonl files."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .png, .svg, .pdf or .html."),
    ] = Path("curves.png"),
    force: Force = False,
) -> None:
    """Draw how training went: losses, checks and learning rate of one or several runs.

    Several runs lie over each other, each named by its folder. A run may still be going on.

    Example: mfrkit distill demo/crops -o student.safetensors --steps 2 --batch-size 4
    && mfrkit curves student.run -o curves.html
    """
    from mfrkit.training.curves import CurvesOptions
    from mfrkit.training.curves import curves as run

    run(CurvesOptions(tuple(runs), output, force), ctx.obj)
