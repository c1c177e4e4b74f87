"""What `mfrkit identify` says: figures, as a plain object and as a table, and definitions."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from mfrkit.console import Console
from mfrkit.evaluation.enrolment import Enrolment
from mfrkit.evaluation.options import IdentifyOptions
from mfrkit.evaluation.results import UNDEFINED, finite, percent, scientific
from mfrkit.metrics.identification import (
    OpenSetErrors,
    OpenSetPoint,
    Searches,
    cmc,
    errors_at,
    open_set_point,
)
from mfrkit.pages.table import Table

SCHEMA = 1
_CMC_RANKS = 100  # as far as the curve goes in JSON
DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "score": "cosine similarity to a person's template, or with --pool none to the person's "
        "most similar photo, or with --classifier the natural logarithm of the share its softmax "
        "gives the person; returned when score >= threshold",
        "mated": "the probe's person is in the gallery by another photo; the probe's own photo "
        "(same key, masked variants) is left out of its search",
        "rank": "place of the probe's person among all people; equal scores rank behind",
        "cmc": "share of mated searches with rank <= k",
        "fpir": "share of non-mated searches that return anybody",
        "fnir": "share of mated searches that do not return the person, at whatever rank",
        "dir": "share of mated searches that return the person at rank 1 (DIR at FAR = FPIR)",
        "fixed_thresholds": "the same rates at thresholds of eval --threshold-out, set on single "
        "pairs at an FMR; a stranger meets everybody in the gallery, so FPIR is higher than it",
        "failed": "a probe without embedding misses if mated, and returns nobody if not",
    }
)


@dataclass(frozen=True)
class Identification:
    """How well people are found, and strangers turned away.

    Attributes:
        people: people in the gallery, with or without a usable photo.
        mated: searches for people in the gallery.
        non_mated: searches for strangers.
        unusable_gallery: inputs of the gallery without usable vector.
        failed_probes: probes without usable vector.
        own_photos: probes searched without their own photo.
        cmc: share of mated searches with rank <= 1, 2, ..., up to 100 or everybody.
        at_rank: the same at the ranks asked for.
        open_set: errors at each FPIR asked for.
        fixed: FMR a threshold was set at beforehand -> errors there.
    """

    people: int
    mated: int
    non_mated: int
    unusable_gallery: int
    failed_probes: int
    own_photos: int
    cmc: tuple[float, ...]
    at_rank: tuple[float, ...]
    open_set: tuple[OpenSetPoint, ...]
    fixed: Mapping[float, OpenSetErrors]


def summarise(
    searches: Searches,
    known: Enrolment,
    options: IdentifyOptions,
    thresholds: Mapping[float, float],
) -> Identification:
    """Work out the figures; `thresholds` are those set beforehand, by their FMR."""
    mated = int(np.count_nonzero(searches.mated))
    curve = np.arange(1, min(known.people, _CMC_RANKS) + 1)
    return Identification(
        people=known.people,
        mated=mated,
        non_mated=len(searches.mated) - mated,
        unusable_gallery=known.unusable,
        failed_probes=int(np.count_nonzero(np.isneginf(searches.best))),
        own_photos=int(np.count_nonzero(known.own_photo)),
        cmc=tuple(cmc(searches, curve).tolist()),
        at_rank=tuple(cmc(searches, np.array(options.ranks, np.int64)).tolist()),
        open_set=tuple(open_set_point(searches, target) for target in options.fpir),
        fixed={fmr: errors_at(searches, value) for fmr, value in thresholds.items()},
    )


def to_json(result: Identification, options: IdentifyOptions) -> dict[str, Any]:
    """Return everything with full precision; what the searches cannot support is None."""
    figures = asdict(result)
    del figures["at_rank"]
    figures["open_set"] = [asdict(point) for point in result.open_set]
    figures["cmc"] = list(result.cmc)
    del figures["fixed"]
    figures["fixed_thresholds"] = [
        {"fmr": fmr, **asdict(errors)} for fmr, errors in result.fixed.items()
    ]
    return {
        "schema": SCHEMA,
        "gallery": str(options.gallery),
        "probes": str(options.probes),
        "pool": None if options.classifier else options.pool,
        "classifier": options.classifier,
        "definitions": dict(DEFINITIONS),
        **{name: finite(value) for name, value in figures.items()},
    }


def figures_table(result: Identification, options: IdentifyOptions, *, flag: str = "") -> Table:
    """Return the figures as a table of one line.

    Args:
        result: the figures.
        options: what was asked for.
        flag: for people: appended to figures that rest on too few searches for strangers, and
            reasons stand beside what is undefined.
    """

    def figure(share: float, enough: bool = True) -> str:
        if not math.isnan(share):
            return percent(share) + ("" if enough else flag)
        reason = "no mated search" if not result.mated else "no search for a stranger"
        return f"{UNDEFINED}: {reason}" if flag else UNDEFINED

    cells = {
        "people": str(result.people),
        "mated": str(result.mated),
        "non-mated": str(result.non_mated),
        "failed": str(result.failed_probes),
        **{
            f"rank-{rank} %": figure(share)
            for rank, share in zip(options.ranks, result.at_rank, strict=True)
        },
        **{
            f"{name}@{scientific(point.target)} %": figure(share, point.enough_searches)
            for name in ("FNIR", "DIR")
            for point in result.open_set
            for share in [point.fnir if name == "FNIR" else point.dir]
        },
        **{
            f"{name} at FMR {scientific(fmr)} %": figure(share)
            for fmr, errors in result.fixed.items()
            for name, share in (("FPIR", errors.fpir), ("FNIR", errors.fnir), ("DIR", errors.dir))
        },
    }
    notes = []
    if flag and result.non_mated and not all(point.enough_searches for point in result.open_set):
        notes.append(
            f"{flag} rests on too few searches for strangers ({result.non_mated}); "
            "1/FPIR are needed"
        )
    title = f"{options.probes.name} among {options.gallery.name}, {options.compares}"
    return Table(title, list(cells), [list(cells.values())], notes)


def show(result: Identification, options: IdentifyOptions, console: Console) -> None:
    """Print a table: one line for programs, a figure a line for people."""
    if not console.is_terminal_out:
        table = figures_table(result, options)
        console.table("", table.columns, table.rows)
        return
    table = figures_table(result, options, flag="*")
    lines = [list(line) for line in zip(table.columns, table.rows[0], strict=True)]
    console.table(table.title, ["", "value"], lines)
    for note in table.notes:
        console.info(note)
