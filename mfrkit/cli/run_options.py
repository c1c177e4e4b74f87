"""The options every per-image command shares, written once."""

from typing import Annotated

import typer

from mfrkit.cli.option_groups import option_group
from mfrkit.cli.options import Force
from mfrkit.config import Cluster, RunOptions, Shard, default_workers
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
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done.")]
ShardOption = Annotated[
    str, typer.Option("--shard", metavar="I/N", help="Take part I of N of the inputs.")
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|auto|ADDRESS",
        help="Spread the work over a Ray cluster (extra `cluster`): local starts one here.",
        show_default=False,
    ),
]
Summary = Annotated[
    bool, typer.Option("--json", help="With --cluster: print one JSON object, with each node.")
]
MaxSkipped = Annotated[
    float | None,
    typer.Option(
        "--max-skipped",
        help="Exit with 3 if a larger share of the inputs is skipped.",
        show_default="any but all",
    ),
]


def run_options(
    workers: Workers = None,
    batch_size: BatchSize = 32,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    shard: ShardOption = "1/1",
    max_skipped: MaxSkipped = None,
    cluster: ClusterOption = None,
    json: Summary = False,
) -> RunOptions:
    """Collect the shared options.

    Raises:
        InputError: a value no run can use.
    """
    if json and cluster is None:
        raise InputError("--json: sums up a run on a --cluster; other runs print their records")
    return RunOptions(
        workers=default_workers() if workers is None else workers,
        batch_size=batch_size,
        device=device,
        resume=resume,
        force=force,
        dry_run=dry_run,
        shard=Shard.parse(shard),
        max_skipped=max_skipped,
        cluster=None if cluster is None else Cluster(cluster, workers, json),
    )


takes_run_options = option_group("run", run_options)
"""Give a per-image command the shared options; it receives them as its argument `run`."""
