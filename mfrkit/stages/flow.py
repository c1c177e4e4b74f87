"""Move items through a stage: ordered, overlapped, and with memory that does not grow.

Threads share one interpreter: a stage that strings together thousands of short tensor operations
gains nothing from a second one. Processes do, once they have started.
"""

import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Generic, TypeVar

from mfrkit.errors import MfrError, concerns_the_run

In = TypeVar("In")
Out = TypeVar("Out")


PIXELS_AHEAD = 1 << 27  # of photos that are decoded or about to be: 400 MB, whatever the workers
BATCH_PIXELS = 1 << 25  # of photos taken together: 100 MB; larger ones travel alone


def ordered_map(
    function: Callable[[In], Out],
    inputs: Iterable[In],
    *,
    workers: int,
    weight: Callable[[In], int] | None = None,
) -> Iterator[Out]:
    """Apply a function in worker threads and yield the results, and its errors, in input order.

    Decoding and encoding pictures release Python's lock, and threads have nothing to copy. Where
    much of the work is Python's own, see `Processes`.

    Args:
        function: called once per input.
        inputs: consumed lazily, in the caller's thread.
        workers: number of threads; twice as many inputs are under way at most.
        weight: see `in_order`.

    Example:
        >>> list(ordered_map(abs, [-1, 2, -3], workers=2))
        [1, 2, 3]
    """
    pool = ThreadPoolExecutor(workers)
    try:
        yield from in_order(
            lambda each: pool.submit(function, each), inputs, ahead=2 * workers, weight=weight
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    submit: Callable[[In], Future[Out]],
    inputs: Iterable[In],
    *,
    ahead: int,
    weight: Callable[[In], int] | None = None,
) -> Iterator[Out]:
    """Yield results in input order, however they are computed; inputs are consumed lazily.

    Args:
        submit: begins the work on an input.
        inputs: of any number.
        ahead: inputs under way or waiting to be taken at most, which bounds memory.
        weight: how many pixels an input has. Results are taken until those under way are no more
            than `PIXELS_AHEAD`, or one input alone.
    """
    waiting: deque[Future[Out]] = deque()
    weights: deque[int] = deque()
    for each in inputs:
        cost = weight(each) if weight else 0
        while waiting and sum(weights) + cost > PIXELS_AHEAD:
            weights.popleft()
            yield waiting.popleft().result()
        waiting.append(submit(each))
        weights.append(cost)
        if len(waiting) >= ahead:
            weights.popleft()
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def isolated(
    work: Callable[[Iterable[In]], Iterator[Out]],
    inputs: Iterable[In],
    give_up: Callable[[In, Exception], Out],
) -> Iterator[Out]:
    """Do work that takes many inputs at once, such that one it fails on costs no other.

    When the work fails, the inputs it had taken and not answered are given to it again in halves,
    and those halves in halves, until the one it fails on is alone.

    Args:
        work: gives one result for each input, in order; it may run ahead, and is called anew after
            a failure. One that concerns the run as a whole is raised, see `concerns_the_run`.
        inputs: consumed lazily. If they end in an error, it is raised behind the last result.
        give_up: makes the result of an input that the work cannot do.

    Example:
        >>> list(isolated(lambda each: map(int, each), ["1", "x", "3"], lambda text, error: text))
        [1, 'x', 3]
    """
    source = _Taken(inputs)
    while not source.ended:
        try:
            for result in work(source):
                source.waiting.popleft()
                yield result
        except Exception as error:
            if concerns_the_run(error):
                raise
            groups = [list(source.waiting)]
            if not groups[0]:
                raise  # no input's fault
            source.waiting.clear()
            yield from _by_halves(work, groups, give_up)
        else:
            break
    if source.error is not None:
        raise source.error


class _Taken(Iterator[In]):
    """Inputs, of which those that were taken and not answered yet are kept."""

    def __init__(self, inputs: Iterable[In]) -> None:
        self._inputs = iter(inputs)
        self.waiting: deque[In] = deque()
        self.ended = False
        self.error: Exception | None = None

    def __next__(self) -> In:
        try:
            each = next(self._inputs)
        except StopIteration:
            self.ended = True
            raise
        except Exception as error:
            self.ended, self.error = True, error
            raise StopIteration from error
        self.waiting.append(each)
        return each


def _by_halves(
    work: Callable[[Iterable[In]], Iterator[Out]],
    groups: list[list[In]],
    give_up: Callable[[In, Exception], Out],
) -> Iterator[Out]:
    while groups:
        group, done = groups.pop(), 0
        try:
            for result in work(iter(group)):
                done += 1
                yield result
        except Exception as error:
            if concerns_the_run(error):
                raise
            if len(group) == 1:
                yield give_up(group[0], error)
                continue
            rest = group[done:]
            groups += filter(None, [rest[len(rest) // 2 :], rest[: len(rest) // 2]])


def batched(
    inputs: Iterable[In],
    size: int,
    *,
    weight: Callable[[In], int] | None = None,
    limit: int = BATCH_PIXELS,
) -> Iterator[list[In]]:
    """Group consecutive inputs into lists of at most `size`; an error comes behind the last group.

    Args:
        inputs: consumed lazily.
        size: largest number of inputs in a group.
        weight: what an input costs, mostly its pixels.
        limit: largest summed weight of a group; a heavier single input makes a group of its own.

    Example:
        >>> list(batched([3, 1, 1, 9], 2, weight=int, limit=4))
        [[3, 1], [1], [9]]
    """
    group: list[In] = []
    load = 0
    try:
        for each in inputs:
            cost = weight(each) if weight else 0
            if group and weight and load + cost > limit:
                yield group
                group, load = [], 0
            group.append(each)
            load += cost
            if len(group) == size:  # at once: the next input of a pipeline may be long in coming
                yield group
                group, load = [], 0
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


_work: Callable[[], Callable[[Any], Any]]  # in a worker process: what it does, built when asked


class Processes(Generic[In, Out]):
    """A few processes that all do the same to whatever they are sent; a context manager.

    They end with the program, however that ends. A script that uses them needs the usual guard,
    `if __name__ == "__main__"`.

    Args:
        build: makes the function that does it, once in each process; can be pickled, as can all
            that goes in and comes out.
        workers: how many.
        preload: modules the work needs. Where the system can fork, they are loaded once for all
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
        """Send one input to a process that is free; errors of `build` too come with the result."""
        return self._pool.submit(_perform, each)

    def __enter__(self) -> "Processes[In, Out]":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Let the processes finish what they are at, and no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise MfrError(
                "a worker process was killed, perhaps for want of memory: go on with --resume and "
                "fewer --workers"
            ) from error


def processes_are_possible() -> bool:
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
