"""Worker processes, for stages whose own Python fills a processor.

Threads share one interpreter: a stage that strings together thousands of short tensor operations
gains nothing from a second one. Processes do, once they have started.
"""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Generic, TypeVar

from mfrkit.errors import MfrError

In = TypeVar("In")
Out = TypeVar("Out")

_work: Callable[[], Callable[[Any], Any]]  # in a worker process: what it does, built when asked


class Processes(Generic[In, Out]):
    """A few processes that all do the same to whatever they are sent; a context manager.

    They end with the program, however that ends. A script that uses them needs the usual guard,
    `if __name__ == "__main__"`.

    Args:
        build: Makes the function that does it, once in each process; can be pickled, as can all
            that goes in and comes out.
        workers: How many.
        preload: Modules the work needs. Where the system can fork, they are loaded once for all
            processes, in the background from now on.
    """

    def __init__(
        self, build: Callable[[], Callable[[In], Out]], workers: int, preload: Sequence[str] = ()
    ) -> None:
        # Not a fork of this process: it has threads, and their locks would stay locked in it.
        can_fork = "forkserver" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if can_fork else "spawn")
        self._pool = ProcessPoolExecutor(workers, context, _settle, (build,))
        if can_fork:
            from multiprocessing.forkserver import ensure_running

            context.set_forkserver_preload([__name__, *preload])
            # Ctrl-C is this program's to answer: what is started with it blocked never sees it.
            usual = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            ensure_running()
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)

    def submit(self, each: In) -> "Future[Out]":
        """Send one input to a process that is free.

        Returns:
            Its result to come: `result()` raises what the work, or building it, raised.
        """
        return self._pool.submit(_perform, each)

    def __enter__(self) -> "Processes[In, Out]":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Let the processes finish what they are at, and no more.

        Raises:
            MfrError: one of them has died.
        """
        self._pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise MfrError(
                "a worker process was killed, perhaps for want of memory: go on with --resume and "
                "fewer --workers"
            ) from error


def are_possible() -> bool:
    """Whether the system has the semaphores processes need; some containers have none."""
    try:
        multiprocessing.Lock()
    except (OSError, ImportError):
        return False
    return True


def _perform(each: Any) -> Any:
    """Do the work on one input, in a worker process."""
    return _work()(each)


def _settle(build: Callable[[], Callable[[Any], Any]]) -> None:
    """Make a new process a quiet worker that will do what `build` makes."""
    global _work
    _work = functools.cache(build)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the program is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
