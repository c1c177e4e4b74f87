"""mfrkit unpack."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force
from mfrkit.cli.run_options import Resume


def unpack(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Verification file, for example lfw.bin.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Write the crops and the pair list of a verification file (.bin).

    The folder gets one picture for each side of each pair, a manifest and pairs.txt. Nothing in
    the file is executed.

    Example: mfrkit pack-bin demo/pairs.csv demo/crops -o a.bin
    && mfrkit unpack a.bin -o unpacked
    """
    from mfrkit.stages.verification_bin import unpack_bin

    unpack_bin(file, output, ctx.obj, force=force, resume=resume)
