"""What every per-image command shares: how a run is sized, split, repeated and continued."""

import os
import re
from dataclasses import dataclass, field

from mfrkit.errors import InputError

MOST_WORKERS = 1024


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of the inputs: every `count`-th one, beginning at `index`.

    Convention:
        `index` runs from 1 to `count`, as people and job arrays count.
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `I/N`.

        Raises:
            InputError: not two integers with 1 <= I <= N.

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


def default_workers() -> int:
    """Return the number of processors this process may use, at most 16."""
    if hasattr(os, "sched_getaffinity"):
        return min(16, len(os.sched_getaffinity(0)))
    return min(16, os.cpu_count() or 1)


@dataclass(frozen=True)
class Cluster:
    """Where the shards of a run are worked on.

    Attributes:
        address: `local` starts a Ray cluster on this machine, `auto` joins the one this machine
            belongs to or `RAY_ADDRESS` names, anything else is the address of one.
        workers: processors of a shard; None is one, or with GPUs a GPU's share of its node's.
        json: print a summary as one JSON object.
    """

    address: str
    workers: int | None = None
    json: bool = False


@dataclass(frozen=True)
class RunOptions:
    """The options that mean the same in every command.

    None of them changes a result: only how fast it comes and what happens to earlier ones.

    Attributes:
        workers: threads that decode and encode pictures, or processes that draw on them.
        batch_size: pictures per network call.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        resume: continue an unfinished run.
        force: replace an earlier result.
        dry_run: say what would be done, and stop.
        shard: the part of the inputs this process takes.
        max_skipped: largest acceptable share of skipped inputs in [0, 1]; None accepts any
            share but all of them.
        cluster: where shards are worked on; None works here.
    """

    workers: int = field(default_factory=default_workers)
    batch_size: int = 64
    device: str = "auto"
    resume: bool = False
    force: bool = False
    dry_run: bool = False
    shard: Shard = Shard()
    max_skipped: float | None = None
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        if not 1 <= self.workers <= MOST_WORKERS:
            raise InputError(f"--workers {self.workers}: expected 1 to {MOST_WORKERS}")
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected at least 1")
        if self.resume and self.force:
            raise InputError("--resume and --force exclude each other: continue, or replace?")
        if self.max_skipped is not None and not 0 <= self.max_skipped <= 1:
            raise InputError(f"--max-skipped {self.max_skipped}: expected a share from 0 to 1")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise InputError(f"--device {self.device!r}: expected auto, cpu, cuda, cuda:N or mps")
