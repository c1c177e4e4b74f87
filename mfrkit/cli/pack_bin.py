"""mfrkit pack-bin."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def pack_bin(
    ctx: typer.Context,
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="Pair list of any format.")],
    crops: Annotated[str, typer.Argument(metavar="CROPS", help="Crops: folder or manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Verification file to write.")],
    force: Force = False,
) -> None:
    """Write the crops of a pair list as a verification file (.bin) for other programs.

    Pictures keep their bytes; pairs are written fold by fold.

    Example: mfrkit pack-bin demo/pairs.csv demo/masked -o masked.bin
    """
    from mfrkit.stages.verification_bin import pack_bin as run

    run(pairs, crops, output, ctx.obj, force=force)
