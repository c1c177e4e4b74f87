"""The options every training command shares, written once."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA...", help="Crops: folders, manifests, .rec, .tar; repeatable."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.NAME=VALUE", help="One setting; may be repeated."),
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps.")]
FacesPerStep = Annotated[
    int | None,
    typer.Option("--batch-size", "-b", help="Faces per step, over all processes."),
]
Rate = Annotated[float | None, typer.Option("--lr", help="Highest learning rate.")]


def command_line() -> str:
    """Return the command line of this process, for a model card."""
    return shlex.join(["mfrkit", *sys.argv[1:]])
