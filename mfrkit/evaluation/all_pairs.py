"""Everybody compared with everybody: `eval --all-pairs`, and thresholds by `models calibrate`.

Comparisons are counted by their score, in an amount of memory that does not grow: a stripe of
one file is held while the other streams past it in blocks, and every thread compares a block of
its own. For whole files only two numbers a face are held.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.options import CalibrateOptions, EvalOptions
from mfrkit.evaluation.results import figure_cells, finite, percent, scientific
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing
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
from mfrkit.metrics.rates import ENOUGH_ERRORS, Counts, operating_point
from mfrkit.metrics.verification import Figures, read_figures
from mfrkit.models.cards import MASKED, MIXED, UNMASKED, ModelCard, Operating
from mfrkit.models.registry import read_card, read_tensors, write_model

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

    Versions of one photo (the same key, masked variants) are not compared. `missing` says what an
    input without vector means: `error`, `reject` (its comparisons failed) or `drop`.

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
        sets = [_Set(reader, *people_codes(reader)) for reader in readers]
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


def all_pairs(options: EvalOptions, console: Console) -> Figures:
    """Compare everybody with everybody; print the table or JSON.

    Raises:
        InputError: unusable files, pictures of nobody, no genuine comparison, or inputs without
            embedding under `missing="error"`.
    """
    files = options.compared
    pairs = count_pairs(files, options.missing, console)
    names = " and ".join(map(str, files))
    if not pairs.totals.genuine:
        raise InputError(f"{names}: no person has two photos to compare")
    if not pairs.totals.impostor:
        raise InputError(f"{names}: only one person, so nobody to be mistaken for")
    if pairs.lost:
        done = "are left out" if options.missing == "drop" else "count as failed comparisons"
        console.warn(f"{names}: {pairs.lost} inputs have no usable embedding and {done}")
    if pairs.totals.same_photo and len(files) > 1:
        console.info(f"{pairs.totals.same_photo} pairs show one photo twice and are left out")
    histogram = pairs.histogram
    genuine = spread_of_counts(histogram.genuine, int(histogram.failed[0]))
    impostor = spread_of_counts(histogram.impostor, int(histogram.failed[1]))
    figures = read_figures(histogram.roc, genuine, impostor, options.fars)
    if options.json:
        console.data(json.dumps(_record(pairs, figures, options), ensure_ascii=False))
    else:
        _show(figures, options, console)
    return figures


def _record(pairs: CountedPairs, figures: Figures, options: EvalOptions) -> dict[str, Any]:
    return finite(
        {
            "schema": SCHEMA,
            "embeddings": [str(path) for path in options.compared],
            "model": str(pairs.attributes.get("model", "")),
            "missing": {"policy": options.missing, "inputs": pairs.lost},
            "same_photo": pairs.totals.same_photo,
            "resolution": RESOLUTION,
            "definitions": dict(DEFINITIONS),
            **asdict(figures),
        }
    )


def _show(figures: Figures, options: EvalOptions, console: Console) -> None:
    """Print a table: one line for programs, a figure a line for people."""
    known = figure_cells(figures, flag="*" if console.is_terminal_out else "")
    counts = {
        "genuine": str(figures.genuine.count),
        "impostor": str(figures.impostor.count),
        "failed": str(figures.genuine.failed + figures.impostor.failed),
    }
    rates = ["EER %", "FMR100 %", "FMR1000 %"]
    rates += [name for name in known if name.startswith("TAR@")]
    names = [*rates, "AUC", "genuine mean", "impostor mean", "FDR"]
    cells = counts | {name: known[name] for name in names}
    if not console.is_terminal_out:
        console.table("", list(cells), [list(cells.values())])
        return
    title = " vs ".join(path.name for path in options.compared)
    console.table(f"{title}: all pairs", ["", "value"], [[*cell] for cell in cells.items()])
    if any(not p.enough_impostors for p in (figures.fmr1000, *figures.tar)):
        console.info(f"* rests on too few impostor pairs ({figures.impostor.count}); 1/FAR needed")


def calibrate(options: CalibrateOptions, console: Console) -> None:
    """Write the model anew with thresholds in its card; states not measured keep theirs.

    Raises:
        InputError: the output exists; no embeddings, or of another model or without mirror image;
            pictures of nobody; rates outside (0, 1).
        WeightsError: the model is damaged.
    """
    refuse_existing(options.output, force=options.force)
    if not all(0 < rate < 1 for rate in options.fmr):
        raise InputError(f"--fmr {list(options.fmr)}: expected rates between 0 and 1")
    card = read_card(options.model)[0]
    bare, masked = options.unmasked, options.masked
    if bare is None and masked is None:
        raise InputError("nothing to measure: give --unmasked, --masked, or both")
    found = {}
    for state, given in ((UNMASKED, (bare,)), (MIXED, (bare, masked)), (MASKED, (masked,))):
        files = tuple(file for file in given if file is not None)
        if len(files) == len(given):
            for file in files:
                _check_origin(file, card)
            found[state] = _thresholds(files, options.fmr, console)
    rows = [
        [
            state,
            scientific(point.fmr),
            f"{point.threshold:.4f}",
            percent(point.fnmr),
            str(point.genuine),
            str(point.impostors),
        ]
        for state, points in found.items()
        for point in points
    ]
    if not rows:
        raise InputError("too few comparisons for any rate asked for; thirty false matches needed")
    tensors = read_tensors(options.model)[1]
    made = replace(card, name=options.output.stem, thresholds={**card.thresholds, **found})
    write_model(options.output, tensors, made)
    columns = ["state", "FMR", "threshold", "FNMR %", "genuine", "impostors"]
    console.table(f"{card.name}: thresholds", columns, rows)
    console.info(f"{options.model} -> {options.output}")


def _check_origin(file: Path, card: ModelCard) -> None:
    with EmbeddingReader(file) as reader:
        made, flip = reader.attributes.get("weights_sha256"), reader.attributes.get("flip")
    if made is not None and made != card.sha256:
        raise InputError(f"{file}: embeddings of another model; embed with {card.name}")
    if flip is not None and not flip:
        raise InputError(
            f"{file}: embedded with --no-flip; the thresholds of a card are for faces averaged "
            "with their mirror image"
        )


def _thresholds(
    files: tuple[Path, ...], rates: Sequence[float], console: Console
) -> tuple[Operating, ...]:
    """Return the thresholds that rest on enough comparisons, lowest first.

    Convention:
        Enough are thirty false matches, so that the rate is within 30 % of the true one with 90 %
        confidence (Doddington's rule; ISO/IEC 19795-1, annex B), if comparisons were independent.
    """
    pairs = count_pairs(files, "drop", console)
    totals, curve = pairs.totals, pairs.histogram.roc
    named = " and ".join(map(str, files))
    if not totals.genuine or not totals.impostor:
        raise InputError(f"{named}: no person has two photos, or there is only one person")
    points = []
    for rate in sorted(rates, reverse=True):
        if totals.impostor * rate < ENOUGH_ERRORS:
            console.warn(f"{named}: {totals.impostor} impostor pairs are too few for FMR {rate:g}")
            continue
        point = operating_point(curve, rate)
        points.append(
            Operating(
                fmr=rate,
                threshold=point.threshold,
                fnmr=round(point.fnmr, 6),
                genuine=totals.genuine,
                impostors=totals.impostor,
            )
        )
    return tuple(points)
