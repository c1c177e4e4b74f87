"""Options that mean the same in every command that has them."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.errors import InputError

Force = Annotated[bool, typer.Option("--force", "-f", help="Replace an earlier result.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of everything random.")
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Colour = Annotated[
    str | None,
    typer.Option("--colour", help="RGB or BGR, as a model of another program is fed."),
]
Mean = Annotated[
    str | None,
    typer.Option("--mean", help="Subtracted from values in 0..1: 0.5, 127.5/255 or R,G,B."),
]
Std = Annotated[
    str | None,
    typer.Option("--std", help="What they are then divided by: 0.5, 1/255 or R,G,B."),
]
ImageFormat = Annotated[
    str, typer.Option("--format", help="png (lossless) or jpg (quality 95, a third of the size).")
]


def default_input(given: str | None, default: str, maker: str) -> str:
    """Return the input a command was given, or the default one if it is there.

    Args:
        given: the argument, if any.
        default: the name used in a working folder.
        maker: the command that makes it, for the message.

    Raises:
        InputError: nothing given, and the default is not there.
    """
    if given is not None:
        return given
    if not Path(default).exists():
        raise InputError(f"{default}: not here yet; {maker} makes it, or name another input")
    return default
