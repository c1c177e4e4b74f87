"""What every per-image command shares: how a run is sized, split, repeated and continued."""

import os
import re
from dataclasses import dataclass
from typing import Annotated

import typer

from mfrkit.errors import InputError
from mfrkit.options import Checked, Device, Force, Resume, Within

MOST_WORKERS = 1024

# The bundled models that are used where nobody names one.
RECOGNISER = "mfr"
TEACHER = "arcface"
GENERATOR = "completion"
REGION = "region"


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of the inputs: each `count`-th, the `index`-th (from 1) first."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `I/N`, 1 <= I <= N.

        Example:
            >>> Shard.parse("2/4")
            Shard(index=2, count=4)
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if match:
            shard = cls(int(match[1]), int(match[2]))
            if 1 <= shard.index <= shard.count:
                return shard
        raise InputError(f"--shard {text!r}: expected I/N with 1 <= I <= N, for example 2/4")

    @property
    def is_whole(self) -> bool:
        """Whether this is the only part."""
        return self.count == 1

    def holds(self, position: int) -> bool:
        """Whether the input at this zero-based position belongs to the part."""
        return position % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def suffix(self) -> str:
        """What distinguishes this part's files: empty when there is one part only."""
        return "" if self.is_whole else f"-{self.index}-of-{self.count}"


@dataclass(frozen=True)
class Every:
    """Which frames of a clip to take: the first, and then one in so many frames or seconds."""

    step: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Every":
        """Read `N` (frames) or `Ns` (seconds).

        Example:
            >>> Every.parse("25"), Every.parse("0.5s")
            (Every(step=25, unit='frames'), Every(step=0.5, unit='seconds'))
        """
        match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?|\.\d+)\s*s", text.strip())
        if match and match[1] and int(match[1]):
            return cls(int(match[1]), "frames")
        if match and match[2] and float(match[2]):
            return cls(float(match[2]), "seconds")
        raise InputError(
            f"--every {text!r}: expected a number of frames or seconds, for example 25 or 0.5s"
        )

    def __str__(self) -> str:
        return f"{self.step:g}s" if self.unit == "seconds" else f"{self.step:g}"


def default_workers() -> int:
    """Return the number of processors this process may use, at most 16."""
    if hasattr(os, "sched_getaffinity"):
        return min(16, len(os.sched_getaffinity(0)))
    return min(16, os.cpu_count() or 1)


@dataclass(frozen=True)
class RunOptions(Checked):
    """The options that mean the same in every command.

    None of them changes a result: only how fast it comes and what happens to earlier ones.

    Attributes:
        workers: None is `threads`, and in a shard of a cluster one, or with GPUs a GPU's share of
            its node's.
        max_skipped: None accepts any share but all of the inputs.
        cluster: `local` starts a Ray cluster on this machine, `auto` joins the one this machine
            belongs to or `RAY_ADDRESS` names, anything else is the address of one; None works here.
    """

    workers: Annotated[
        int | None,
        typer.Option(
            *("--workers", "-j"),
            help="Threads that read and write pictures.",
            show_default="processors",
        ),
        Within(1, MOST_WORKERS),
    ] = None
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", help="Pictures per network call."), Within(1)
    ] = 32
    device: Device = "auto"
    resume: Resume = False
    force: Force = False
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done.")] = (
        False
    )
    shard: Annotated[
        Shard,
        typer.Option(
            "--shard", metavar="I/N", help="Take part I of N of the inputs.", parser=Shard.parse
        ),
    ] = Shard()
    max_skipped: Annotated[
        float | None,
        typer.Option(
            "--max-skipped",
            help="Exit with 3 if a larger share of the inputs is skipped.",
            show_default="any but all",
        ),
        Within(0, 1, "a share from"),
    ] = None
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="local|auto|ADDRESS",
            help="Spread the work over a Ray cluster (extra `cluster`): local starts one here.",
            show_default=False,
        ),
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="With --cluster: print one JSON object, with each node.")
    ] = False

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        super().__post_init__()
        if self.resume and self.force:
            raise InputError("--resume and --force exclude each other: continue, or replace?")
        if self.json and self.cluster is None:
            raise InputError("--json: sums up a run on a --cluster; other runs print their records")

    @property
    def threads(self) -> int:
        """Return how many threads read and write pictures, or processes draw on them."""
        return self.workers or default_workers()
