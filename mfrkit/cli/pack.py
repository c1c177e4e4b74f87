"""mfrkit pack."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force, default_input
from mfrkit.cli.run_options import DryRun, MaxSkipped, Workers, run_options


def pack(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(metavar="SRC", help="Crops: folder, manifest, .rec, .tar shards or -."),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="train.rec, train.tar or train-{000..009}.tar."),
    ] = Path("train.rec"),
    workers: Workers = None,
    force: Force = False,
    dry_run: DryRun = False,
    max_skipped: MaxSkipped = None,
) -> None:
    """Pack crops into one large file, or few, which disks read faster than many small ones.

    SRC is crops/ unless named. The name of the output chooses the form: .rec is RecordIO as
    InsightFace and MXNet read it, with .idx, .lst and property beside it; .tar is WebDataset,
    a pattern in braces deals the crops out to several shards. Picture files are copied as they
    are. Every command reads both forms again as its SRC.

    Example: mfrkit pack demo/crops -o train.rec
    """
    source = default_input(source, "crops", "mfrkit align PHOTOS")
    from mfrkit.stages.pack import PackOptions
    from mfrkit.stages.pack import pack as run_stage

    run = run_options(workers, force=force, dry_run=dry_run, max_skipped=max_skipped)
    run_stage(PackOptions(source, output, run), ctx.obj)
