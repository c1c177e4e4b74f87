"""Move items through a stage: ordered, overlapped, and with memory that does not grow."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(
    function: Callable[[In], Out], inputs: Iterable[In], *, workers: int, ahead: int | None = None
) -> Iterator[Out]:
    """Apply a function in worker threads and yield the results in input order.

    Decoding and encoding pictures release Python's lock, and threads have nothing to copy. Where
    much of the work is Python's own, see `processes`.

    Args:
        function: called once per input; an exception it raises is raised here, in its turn.
        inputs: consumed lazily, in the caller's thread.
        workers: number of threads.
        ahead: calls to keep under way; twice the workers if None.

    Example:
        >>> list(ordered_map(abs, [-1, 2, -3], workers=2))
        [1, 2, 3]
    """
    pool = ThreadPoolExecutor(workers)
    try:
        yield from in_order(
            lambda each: pool.submit(function, each), inputs, ahead=ahead or 2 * workers
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    submit: Callable[[In], Future[Out]], inputs: Iterable[In], *, ahead: int
) -> Iterator[Out]:
    """Yield results in input order, however they are computed.

    Args:
        submit: begins the work on an input.
        inputs: consumed lazily, in the caller's thread.
        ahead: inputs under way or waiting to be taken at most, which bounds memory however many
            come.
    """
    waiting: deque[Future[Out]] = deque()
    for each in inputs:
        waiting.append(submit(each))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def batched(
    inputs: Iterable[In],
    size: int,
    *,
    weight: Callable[[In], int] | None = None,
    limit: int = 0,
) -> Iterator[list[In]]:
    """Group consecutive inputs into lists of at most `size`.

    Args:
        inputs: consumed lazily.
        size: largest number of inputs in a group.
        weight: what an input costs, for example its pixels.
        limit: largest summed weight of a group; a heavier single input makes a group of its own.

    Example:
        >>> list(batched([3, 1, 1, 9], 2, weight=int, limit=4))
        [[3, 1], [1], [9]]
    """
    group: list[In] = []
    load = 0
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
    if group:
        yield group
