"""Count all comparisons of one or two embedding files, in an amount of memory that does not grow.

A stripe of one file is held while the other file streams past it in blocks; every thread compares
a block of its own. For whole files only two numbers a face are held.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.metrics.all_pairs import (
    TILE,
    PairCounter,
    PairTotals,
    pair_totals,
    to_histogram,
)
from mfrkit.metrics.blocks import Faces, Indices, unit_rows
from mfrkit.metrics.histogram import ScoreHistogram
from mfrkit.metrics.roc import Counts
from mfrkit.stages.people import people_codes

STRIPE = 8 * TILE  # faces of one file held at a time; the other is read once for each stripe


@dataclass(frozen=True, eq=False)
class CountedPairs:
    """Every comparison of a system.

    Attributes:
        histogram: their scores.
        totals: how many there are.
        lost: inputs without an embedding, or with one that has no direction.
        attributes: root attributes of the first file.
    """

    histogram: ScoreHistogram
    totals: PairTotals
    lost: int
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Set:
    """One file with the codes of its people and photos; inputs without a vector come last."""

    reader: EmbeddingReader
    person: Indices
    photo: Indices

    def faces(self, start: int, stop: int) -> Faces:
        """Read some rows and leave out those without direction."""
        place = np.arange(start, min(stop, self.reader.count))
        vectors, usable = unit_rows(self.reader.vectors(start, stop))
        if not usable.all():
            vectors, place = vectors[usable], place[usable]
        return Faces(vectors, self.person[place], self.photo[place], place)

    def lost(self) -> Indices:
        """Return the places of the inputs that cannot be compared."""
        bad = [np.arange(self.reader.count, len(self.person))]
        for start in range(0, self.reader.count, STRIPE):
            place = np.arange(start, min(start + STRIPE, self.reader.count))
            bad.append(place[~unit_rows(self.reader.vectors(start, start + STRIPE))[1]])
        return np.concatenate(bad)

    def codes(self, without: Indices) -> tuple[Indices, Indices]:
        """Return person and photo of all inputs but some."""
        return np.delete(self.person, without), np.delete(self.photo, without)


def count_pairs(paths: tuple[Path, ...], missing: str, console: Console) -> CountedPairs:
    """Compare all faces of one file with each other, or with all faces of a second file.

    Versions of one photo (the same key, masked variants) are not compared.

    Args:
        paths: one or two embedding files.
        missing: what an input without vector means: `error`, `reject` (its comparisons failed)
            or `drop`.
        console: for the progress.

    Raises:
        InputError: unusable files, vectors of different sizes, pictures of nobody, or inputs
            without vector under `error`.
    """
    with ExitStack() as files:
        readers = [files.enter_context(EmbeddingReader(path)) for path in paths]
        if readers[0].dim != readers[-1].dim:
            raise InputError(
                f"{paths[1]}: vectors of {readers[1].dim} values cannot be compared with the "
                f"{readers[0].dim} of {paths[0]}; embed both with one model"
            )
        sets = _load(readers)
        lost = [each.lost() for each in sets]
        if missing == "error":
            _refuse_losses(sets, lost)
        left_out = lost if missing == "drop" else [np.empty(0, np.int64)] * len(sets)
        codes = [each.codes(gone) for each, gone in zip(sets, left_out, strict=True)]
        totals = pair_totals(codes[0], codes[1] if len(codes) > 1 else None)
        counts = _count(sets, console)
        return CountedPairs(
            histogram=to_histogram(counts, totals),
            totals=totals,
            lost=sum(map(len, lost)),
            attributes=readers[0].attributes,
        )


def _load(readers: list[EmbeddingReader]) -> list[_Set]:
    return [_Set(reader, *people_codes(reader)) for reader in readers]


def _refuse_losses(sets: list[_Set], lost: list[Indices]) -> None:
    for each, gone in zip(sets, lost, strict=True):
        if len(gone):
            raise InputError(
                f"{each.reader.path}: {len(gone)} of {len(each.person)} inputs have no usable "
                "embedding; --missing reject counts their comparisons as failed, "
                "--missing drop leaves them out"
            )


def _count(sets: list[_Set], console: Console) -> tuple[Counts, Counts]:
    """Return the (BINS,) counts of genuine and of impostor comparisons."""
    first, second = sets[0], sets[-1]
    within = first is second
    threads = _threads()
    counters = [PairCounter(within=within) for _ in range(threads)]
    free: SimpleQueue[PairCounter] = SimpleQueue()
    for counter in counters:
        free.put(counter)
    with _pool(threads) as pool, console.progress("all pairs", first.reader.count) as progress:
        for start in range(0, first.reader.count, STRIPE):
            stripe = first.faces(start, start + STRIPE)

            def compare(block: int, stripe: Faces = stripe) -> None:
                counter = free.get()
                try:
                    counter.add(stripe, second.faces(block, block + TILE))
                finally:
                    free.put(counter)

            for _ in pool.map(compare, range(start if within else 0, second.reader.count, TILE)):
                pass
            progress.update(len(stripe))
    genuine, impostor = zip(*(counter.result() for counter in counters), strict=True)
    return np.sum(genuine, axis=0), np.sum(impostor, axis=0)


def _threads() -> int:
    """Return the threads BLAS would use, which follow the cores and OMP_NUM_THREADS."""
    found = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
    return max([1, *found])


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads that multiply by themselves: those of BLAS would wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        pool = ThreadPoolExecutor(threads)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C, only what has begun is finished
