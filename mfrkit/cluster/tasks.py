"""Shards as tasks of Ray, which places them, queues them and repeats those whose worker died.

Plain tasks, neither actors nor Ray Data. A task asks for a share of a node (a GPU and its part of
the processors, or one processor), so Ray itself fills the cluster, also with nodes that join later,
which a pool of actors of fixed size would not see. `max_calls=0` lets a process take one task after
the other, on a GPU too: Python, torch and the CUDA context are loaded once a process, as in an
actor; weights of a few megabytes are read again for each shard, a fraction of a second against
minutes. Ray Data would cut the inputs into blocks of its own, send pictures or their names through
its object store, and knows neither our order nor `--resume`; what a stage already does with a shard
(reading ahead, batches, one writer) it would do a second time.

The only module that imports ray.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mfrkit import __version__
from mfrkit.console import Console, Progress
from mfrkit.errors import HeldError, InputError, MfrError

Out = TypeVar("Out")
Tell = Callable[[int, int], object]
"""Is told how many inputs of a shard are done, and how many of those were skipped."""

PATIENCE = 180.0  # seconds; a server of NFS keeps the locks of a node that died for up to 90
_EVERY = 1.0  # seconds between two messages of a shard


@dataclass(frozen=True)
class ShardJob:
    """A stage and what a node must have to run it.

    Attributes:
        options: of the stage, for one shard.
        folder: the working folder of the command, which relative paths start from.
        command: the words of the command line, for messages.
        version: of mfrkit.
    """

    stage: Callable[[Any, Console], object]
    options: Any
    folder: str
    command: tuple[str, ...]
    version: str = __version__


@dataclass(frozen=True)
class ShardReport:
    """What became of a shard.

    Attributes:
        node: host name of the node that finished it.
        process: of that node; several shards one after the other share one.
        inputs: how many it took, without those an earlier attempt had done.
        skipped: how many of the shard's inputs gave nothing.
        seconds: how long the stage ran.
    """

    node: str
    process: int
    inputs: int
    skipped: int
    seconds: float


class ShardConsole(Console):
    """Counts what a stage would narrate, and passes the counts on once a second."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(-1)
        self.done = self.earlier = self.skipped = 0
        self._tell = tell
        self._told = time.monotonic()

    def record(self, record: Mapping[str, object]) -> None:
        """Count a skipped input."""
        self.skipped += record.get("status") == "skipped"

    @contextmanager
    def progress(
        self, label: str, total: int | None, *, unit: str = "img", done: int = 0
    ) -> Iterator[Progress]:
        """Count what the block does, beside what was done before."""
        self.done = self.earlier = done
        yield self
        self._tell(self.done, self.skipped)

    def update(self, n: int = 1) -> None:
        """Count `n` more inputs."""
        self.done += n
        if time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            self._tell(self.done, self.skipped)

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Ignore the remark."""


def perform(job: ShardJob, tell: Tell) -> ShardReport:
    """Run one shard to its end.

    Raises:
        MfrError: whatever the stage refuses, in one line that names the node.
    """
    node = socket.gethostname()
    try:
        _settle(job)
        console = ShardConsole(tell)
        started = time.perf_counter()
        when_free(partial(job.stage, job.options, console), PATIENCE)
    except MfrError as error:
        raise type(error)(f"node {node}: {error}") from error
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        raise MfrError(f"node {node}: {name}{error.strerror or error}") from error
    seconds = time.perf_counter() - started
    inputs = console.done - console.earlier
    return ShardReport(node, os.getpid(), inputs, console.skipped, seconds)


def _settle(job: ShardJob) -> None:
    """Make this process stand where the command was given."""
    if job.version != __version__:
        raise InputError(f"has mfrkit {__version__}, the command {job.version}; install the same")
    if not Path(job.folder).is_dir():
        raise InputError(f"{job.folder}: no such folder; nodes must share the files of a command")
    os.chdir(job.folder)
    sys.argv = list(job.command)  # by which a lock names its holder


def when_free(act: Callable[[], Out], patience: float) -> Out:
    """Do something with an output, once a process that died has lost its hold of it.

    Raises:
        HeldError: it is held still after so many seconds.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return act()
        except HeldError:
            if time.monotonic() > until:
                raise
            time.sleep(1)


RETRIES = 5  # of a shard whose worker died; what always kills its worker ends the run some time
# Of a cluster on this machine: an object store that holds no pictures, and workers no nicer than
# others. Ray makes them so, to leave room for a node's own processes: here they are all there is.
LOCAL: dict[str, Any] = {
    "object_store_memory": 100 << 20,  # bytes
    "include_dashboard": False,
    "_system_config": {"worker_niceness": 0},
}


@dataclass(frozen=True)
class Share:
    """What a shard gets of a node, and how many the cluster works on at a time."""

    processors: int
    gpus: int
    slots: int


@dataclass(frozen=True)
class Totals:
    """How many inputs are done, how many of those gave nothing, which shards began again."""

    done: int
    skipped: int
    again: int


class _Meter:
    """Knows how far every shard is; an actor beside the command."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, int]] = {}
        self._starts: Counter[int] = Counter()

    def begin(self, shard: int) -> None:
        self._starts[shard] += 1

    def tell(self, shard: int, done: int, skipped: int) -> None:
        self._counts[shard] = (done, skipped)

    def totals(self) -> Totals:
        done, skipped = (sum(column) for column in zip((0, 0), *self._counts.values(), strict=True))
        return Totals(done, skipped, self._starts.total() - len(self._starts))


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Belong to a cluster while the block runs; one on this machine ends with it.

    Raises:
        InputError: Ray is not installed, or no such cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
    except ImportError as error:
        raise InputError("--cluster needs Ray: pip install 'mfrkit[cluster]'") from error
    settings: dict[str, Any] = {"address": address} | (LOCAL if address == "local" else {})
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:  # Ray has a class of its own for few of its refusals
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"--cluster {address}: no cluster to work on ({reason})") from error
    try:
        signal.signal(signal.SIGTERM, on_term)  # Ray's own handler would end us without a word
        # Ray tells of dead workers on standard output, which is for results.
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        ray.shutdown()


def share_of(nodes: Sequence[Mapping[str, Any]], workers: int | None, device: str) -> Share:
    """Return what a shard gets of a cluster, whose `nodes` are what `ray.nodes()` says.

    Raises:
        InputError: no node has so many processors, or a GPU.

    Example:
        >>> nodes = [{"Alive": True, "Resources": {"CPU": 32.0, "GPU": 4.0}}]
        >>> share_of(nodes, None, "auto"), share_of(nodes, 2, "cpu")
        (Share(processors=8, gpus=1, slots=4), Share(processors=2, gpus=0, slots=16))
    """
    found = [node["Resources"] for node in nodes if node["Alive"]]
    sizes = [(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in found]
    if device != "cpu" and any(gpus for _, gpus in sizes):
        least = min(cpus // gpus for cpus, gpus in sizes if gpus)
        processors = workers or max(1, least)
        slots = sum(min(gpus, cpus // processors) for cpus, gpus in sizes)
        share = Share(processors, 1, slots)
    elif device == "cuda":
        raise InputError("--device cuda: no node of the cluster has a GPU")
    else:
        processors = workers or 1
        share = Share(processors, 0, sum(cpus // processors for cpus, _ in sizes))
    if not share.slots:
        raise InputError(f"--workers {share.processors}: no node has so many processors for one")
    return share


def cluster_share(workers: int | None, device: str) -> Share:
    """Return what a shard gets of the cluster this process belongs to, see `share_of`."""
    import ray

    return share_of(ray.nodes(), workers, device)


def run_all(
    jobs: Sequence[ShardJob], share: Share, watch: Callable[[Totals, int], None]
) -> tuple[list[ShardReport], Totals]:
    """Run shards on the cluster this process belongs to.

    Returns:
        What became of the shards, in order, and the last totals. `watch` is told, twice a second,
        the totals and how many shards are done.

    Raises:
        MfrError: a shard failed, or its worker died again and again.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    meter: Any = ray.remote(_Meter).options(num_cpus=0, scheduling_strategy=here).remote()
    task = ray.remote(
        num_cpus=share.processors, num_gpus=share.gpus, max_retries=RETRIES, max_calls=0
    )(_run_one)
    shards = {task.remote(job, number, meter): number for number, job in enumerate(jobs)}
    waiting = list(shards)
    reports: dict[int, ShardReport] = {}
    totals = Totals(0, 0, 0)
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.5)
        for each in done:
            reports[shards[each]] = _result(each, shards[each] + 1, len(jobs))
        totals = ray.get(meter.totals.remote())
        watch(totals, len(reports))
    return [reports[number] for number in range(len(jobs))], totals


def _result(task: Any, shard: int, count: int) -> ShardReport:
    import ray

    try:
        report: ShardReport = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().partition("\n")[0]
        raise MfrError(f"shard {shard}/{count}: {reason}; --resume continues") from error
    return report


def _run_one(job: ShardJob, number: int, meter: Any) -> ShardReport:
    """Run a shard, in a worker process of Ray."""
    meter.begin.remote(number)
    return perform(job, partial(meter.tell.remote, number))
