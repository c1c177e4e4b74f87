"""The work on one shard, in a process on some node of the cluster."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
        stage: the function of the stage.
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
    """Make this process stand where the command was given.

    Raises:
        InputError: the node lacks the folder, or has another version of mfrkit.
    """
    if job.version != __version__:
        raise InputError(f"has mfrkit {__version__}, the command {job.version}; install the same")
    if not Path(job.folder).is_dir():
        raise InputError(f"{job.folder}: no such folder; nodes must share the files of a command")
    os.chdir(job.folder)
    sys.argv = list(job.command)  # by which a lock names its holder


def when_free(act: Callable[[], Out], patience: float) -> Out:
    """Do something with an output, once a process that died has lost its hold of it.

    Args:
        act: what to do.
        patience: how long to wait for it, seconds.

    Raises:
        HeldError: it is held still.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return act()
        except HeldError:
            if time.monotonic() > until:
                raise
            time.sleep(1)
