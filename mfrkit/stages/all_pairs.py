"""Measure a system on every comparison its embeddings allow: `mfrkit eval --all-pairs`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.metrics.histogram import RESOLUTION, spread_of_counts
from mfrkit.metrics.rates import EqualError, OperatingPoint, auc, equal_error, operating_point
from mfrkit.metrics.verification import Spread, fisher_ratio
from mfrkit.stages.pair_counts import CountedPairs, count_pairs
from mfrkit.stages.results import decimal, finite, percent, scientific

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
