"""Options that mean the same in every command."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.config import RunOptions, Shard, default_workers
from mfrkit.errors import InputError

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", help="Threads that read and write pictures.", show_default="processors"
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", help="Pictures per network call.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace an earlier result.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done.")]
ShardOption = Annotated[
    str, typer.Option("--shard", metavar="I/N", help="Take part I of N of the inputs.")
]
MaxSkipped = Annotated[
    float | None,
    typer.Option(
        "--max-skipped",
        help="Exit with 3 if a larger share of the inputs is skipped.",
        show_default="any but all",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
ImageFormat = Annotated[
    str, typer.Option("--format", help="png (lossless) or jpg (quality 95, a third of the size).")
]


def run_options(
    workers: int | None,
    batch_size: int,
    device: str,
    resume: bool,
    force: bool,
    dry_run: bool,
    shard: str,
    max_skipped: float | None,
) -> RunOptions:
    """Collect the shared options.

    Raises:
        InputError: a value no run can use.
    """
    return RunOptions(
        workers=default_workers() if workers is None else workers,
        batch_size=batch_size,
        device=device,
        resume=resume,
        force=force,
        dry_run=dry_run,
        shard=Shard.parse(shard),
        max_skipped=max_skipped,
    )


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
