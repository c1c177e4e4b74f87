"""mfrkit pack, pack-bin and unpack: pictures into few large files, and out of them."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import takes
from mfrkit.options import Force, Resume
from mfrkit.stages.options import PackOptions


@takes(PackOptions)
def pack(ctx: typer.Context, options: PackOptions) -> None:
    """Pack crops into one large file, or few, which disks read faster than many small ones.

    SRC is crops/ unless named. The name of the output chooses the form: .rec is RecordIO as
    InsightFace and MXNet read it, with .idx, .lst and property beside it; .tar is WebDataset,
    a pattern in braces deals the crops out to several shards. Picture files are copied as they
    are. Every command reads both forms again as its SRC.

    Example: mfrkit pack demo/crops -o train.rec
    """
    from mfrkit.stages.pack import pack as run

    run(options, ctx.obj)


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
    from mfrkit.stages.pack import pack_bin as run

    run(pairs, crops, output, ctx.obj, force=force)


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
    from mfrkit.stages.pack import unpack_bin

    unpack_bin(file, output, ctx.obj, force=force, resume=resume)
