"""Measure a system on every comparison its embeddings allow: `mfrkit eval --all-pairs`.

Comparisons are counted by their score, in an amount of memory that does not grow: a stripe of
one file is held while the other streams past it in blocks, and every thread compares a block of
its own. For whole files only two numbers a face are held.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.results import decimal, finite, percent, scientific
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.people import people_codes
from mfrkit.metrics.all_pairs import (
    RESOLUTION,
    TILE,
    FaceBlock,
    Indices,
    PairCounter,
    PairTotals,
    ScoreHistogram,
    pair_totals,
    spread_of_counts,
    to_histogram,
    unit_rows,
)
from mfrkit.metrics.rates import (
    Counts,
    EqualError,
    OperatingPoint,
    auc,
    equal_error,
    operating_point,
)
from mfrkit.metrics.verification import Spread, fisher_ratio

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

    def faces(self, start: int, stop: int) -> FaceBlock:
        """Read some rows and leave out those without direction."""
        place = np.arange(start, min(stop, self.reader.count))
        vectors, usable = unit_rows(self.reader.vectors(start, stop))
        if not usable.all():
            vectors, place = vectors[usable], place[usable]
        return FaceBlock(vectors, self.person[place], self.photo[place], place)

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

            def compare(block: int, stripe: FaceBlock = stripe) -> None:
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


SCHEMA = 1
FAR = (1e-3, 1e-4, 1e-5, 1e-6)
DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "comparisons": "every pair of inputs once; pairs of versions of one photo (same key, "
        "masked variants) are left out",
        "score": "cosine similarity in float32; accepted when score >= threshold",
        "threshold": "a multiple of 1/32767, at which all counts are exact; TAR at the lowest one "
        "with FAR <= target",
        "eer": "FMR = FNMR, interpolated linearly between the neighbouring thresholds",
        "fmr100": "lowest FNMR with FMR <= 1 %",
        "fmr1000": "lowest FNMR with FMR <= 0.1 %",
        "auc": "probability that a genuine score exceeds an impostor score; ties, among them "
        "scores within one bin of 1/32767, one half",
        "means": "scores taken as the middles of their bins, failed comparisons left out",
        "fdr": "(genuine mean - impostor mean)^2 / (genuine variance + impostor variance)",
    }
)


@dataclass(frozen=True)
class AllPairsOptions:
    """What to compare.

    Attributes:
        files: one embedding file, or the gallery's and the probes'.
        missing: what an input without embedding means, as in `EvalOptions`.
        far: FARs in (0, 1] at which the TAR is reported.
        json: print one JSON object instead of the table.
    """

    files: tuple[Path, ...]
    missing: str = "error"
    far: tuple[float, ...] = FAR
    json: bool = False

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        if not 1 <= len(self.files) <= 2:
            raise InputError(
                f"--all-pairs takes one embedding file, or two to compare; got {len(self.files)}"
            )
        if len({path.absolute() for path in self.files}) < len(self.files):
            raise InputError(f"{self.files[0]}: named twice; once compares it with itself")
        if self.missing not in ("error", "reject", "drop"):
            raise InputError(f"--missing {self.missing!r}: expected error, reject or drop")
        for far in self.far:
            if not 0 < far <= 1:
                raise InputError(f"--far {far:g}: expected a share above 0 and at most 1")


@dataclass(frozen=True)
class AllPairsFigures:
    """How well all comparisons tell people apart; the names are those of `Verification`."""

    genuine: Spread
    impostor: Spread
    eer: EqualError
    fmr100: OperatingPoint
    fmr1000: OperatingPoint
    tar: tuple[OperatingPoint, ...]
    auc: float
    fdr: float


def all_pairs(options: AllPairsOptions, console: Console) -> AllPairsFigures:
    """Compare everybody with everybody; print the table or JSON.

    Raises:
        InputError: unusable files, pictures of nobody, no genuine comparison, or inputs without
            embedding under `missing="error"`.
    """
    pairs = count_pairs(options.files, options.missing, console)
    names = " and ".join(map(str, options.files))
    if not pairs.totals.genuine:
        raise InputError(f"{names}: no person has two photos to compare")
    if not pairs.totals.impostor:
        raise InputError(f"{names}: only one person, so nobody to be mistaken for")
    if pairs.lost:
        done = "are left out" if options.missing == "drop" else "count as failed comparisons"
        console.warn(f"{names}: {pairs.lost} inputs have no usable embedding and {done}")
    if pairs.totals.same_photo and len(options.files) > 1:
        console.info(f"{pairs.totals.same_photo} pairs show one photo twice and are left out")
    figures = measure(pairs, options.far)
    if options.json:
        console.data(json.dumps(_record(pairs, figures, options), ensure_ascii=False))
    else:
        _show(figures, options, console)
    return figures


def measure(pairs: CountedPairs, far: Sequence[float]) -> AllPairsFigures:
    """Read all figures off the histogram."""
    histogram = pairs.histogram
    curve = histogram.roc
    genuine = spread_of_counts(histogram.genuine, int(histogram.failed[0]))
    impostor = spread_of_counts(histogram.impostor, int(histogram.failed[1]))
    return AllPairsFigures(
        genuine=genuine,
        impostor=impostor,
        eer=equal_error(curve),
        fmr100=operating_point(curve, 0.01),
        fmr1000=operating_point(curve, 0.001),
        tar=tuple(operating_point(curve, target) for target in far),
        auc=auc(curve),
        fdr=fisher_ratio(genuine, impostor),
    )


def _record(
    pairs: CountedPairs, figures: AllPairsFigures, options: AllPairsOptions
) -> dict[str, Any]:
    return finite(
        {
            "schema": SCHEMA,
            "embeddings": [str(path) for path in options.files],
            "model": str(pairs.attributes.get("model", "")),
            "missing": {"policy": options.missing, "inputs": pairs.lost},
            "same_photo": pairs.totals.same_photo,
            "resolution": RESOLUTION,
            "definitions": dict(DEFINITIONS),
            **asdict(figures),
        }
    )


def _show(figures: AllPairsFigures, options: AllPairsOptions, console: Console) -> None:
    """Print a table: one line for programs, a figure a line for people."""

    def share(point: OperatingPoint, value: float) -> str:
        flag = "*" if console.is_terminal_out and not point.enough_impostors else ""
        return percent(value) + flag

    cells = {
        "genuine": str(figures.genuine.count),
        "impostor": str(figures.impostor.count),
        "failed": str(figures.genuine.failed + figures.impostor.failed),
        "EER %": percent(figures.eer.rate),
        "FMR100 %": share(figures.fmr100, figures.fmr100.fnmr),
        "FMR1000 %": share(figures.fmr1000, figures.fmr1000.fnmr),
        **{f"TAR@{scientific(p.target)} %": share(p, p.tar) for p in figures.tar},
        "AUC": decimal(figures.auc, 5),
        "genuine mean": decimal(figures.genuine.mean, 3),
        "impostor mean": decimal(figures.impostor.mean, 3),
        "FDR": decimal(figures.fdr, 2),
    }
    if not console.is_terminal_out:
        console.table("", list(cells), [list(cells.values())])
        return
    title = " vs ".join(path.name for path in options.files)
    console.table(f"{title}: all pairs", ["", "value"], [[*cell] for cell in cells.items()])
    if any(not p.enough_impostors for p in (figures.fmr1000, *figures.tar)):
        console.info(f"* rests on too few impostor pairs ({figures.impostor.count}); 1/FAR needed")
