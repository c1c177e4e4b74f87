"""Search every probe among known people: who is found, and who is taken for somebody else.

Candidate lists, one JSON record a probe, best first, are written as the search goes along.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, to_line
from mfrkit.evaluation.enrolment import Enrolment, enrol, enrol_classes, load_classifier
from mfrkit.evaluation.options import IdentifyOptions
from mfrkit.evaluation.results import UNDEFINED, finite, percent, scientific
from mfrkit.evaluation.thresholds import ThresholdFile
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing, replacing, write_whole
from mfrkit.metrics.identification import (
    NEVER,
    OpenSetErrors,
    OpenSetPoint,
    Searches,
    cmc,
    errors_at,
    failed_searches,
    join,
    open_set_point,
    read_scores,
)
from mfrkit.pages.html_page import html_page
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


def _summarise(
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


def _to_json(result: Identification, options: IdentifyOptions) -> dict[str, Any]:
    """Return everything with full precision; what the searches cannot support is None."""
    figures = asdict(result)
    del figures["at_rank"]
    figures["cmc"], figures["open_set"] = list(figures["cmc"]), list(figures["open_set"])
    figures["fixed_thresholds"] = [{"fmr": n, **found} for n, found in figures.pop("fixed").items()]
    return {
        "schema": SCHEMA,
        "gallery": str(options.gallery),
        "probes": str(options.probes),
        "pool": None if options.classifier else options.pool,
        "classifier": options.classifier,
        "definitions": dict(DEFINITIONS),
        **{name: finite(value) for name, value in figures.items()},
    }


def _figures_table(result: Identification, options: IdentifyOptions, *, flag: str = "") -> Table:
    """Return the figures as a table of one line.

    For people, a `flag` is appended to figures that rest on too few searches for strangers, and
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


def _show(result: Identification, options: IdentifyOptions, console: Console) -> None:
    """Print a table: one line for programs, a figure a line for people."""
    table = _figures_table(result, options, flag="*" if console.is_terminal_out else "")
    if not console.is_terminal_out:
        console.table("", table.columns, table.rows)
        return
    lines = [list(line) for line in zip(table.columns, table.rows[0], strict=True)]
    console.table(table.title, ["", "value"], lines)
    for note in table.notes:
        console.info(note)


Write = Callable[[str], object]


@contextmanager
def _candidate_lists(options: IdentifyOptions, console: Console) -> Iterator[Write | None]:
    """Give a function that takes one line; None when no lists are wanted."""
    if not options.top:
        yield None
    elif options.output is None:
        yield console.data
    else:
        with replacing(options.output) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield lambda line: file.write(line + "\n")


def _list_candidates(
    known: Enrolment,
    places: NDArray[np.integer],
    found: Searches,
    scores: NDArray[np.float32],
    top: int,
) -> Iterator[str]:
    """Yield one line for each of B probes, which stand at (B,) places in their file.

    (B, K) scores are everybody's; K = 0 for probes that could not be searched.
    """
    top = min(top, scores.shape[1])
    best = np.argpartition(scores, scores.shape[1] - top, axis=1)[:, scores.shape[1] - top :]
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
    for row, place in enumerate(places.tolist()):
        candidates = [
            {"identity": known.names[column], "score": round(score, 6)}
            for column, score in zip(best[row].tolist(), values[row].tolist(), strict=True)
            if np.isfinite(score)
        ]
        rank = int(found.rank[row])
        record = {
            "probe": known.probes.keys[place],
            "identity": known.probes.identities[place],
            "mated": bool(known.mated[place]),
            "rank": None if rank == NEVER else rank,
            "candidates": candidates,
        }
        yield to_line(record)


_SCORES_AT_ONCE = 2**24  # 64 MB, however large the gallery


def identify(options: IdentifyOptions, console: Console) -> Identification:
    """Search all probes; print the figures or JSON, and write the candidate lists.

    Raises:
        InputError: unusable files or options, pictures of nobody, or an output that exists.
    """
    for path in options.outputs:
        refuse_existing(path, force=options.force)
    with ExitStack() as files:
        probes = files.enter_context(EmbeddingReader(options.probes))
        if options.classifier:
            known = enrol_classes(load_classifier(str(options.gallery)), probes)
        else:
            gallery = files.enter_context(EmbeddingReader(options.gallery))
            known = enrol(gallery, probes, options.pool)
        fixed = _thresholds(options, probes, console)
        with _candidate_lists(options, console) as write:
            searches = join(list(_search(known, probes, options.top, write, console)))
    result = _summarise(searches, known, options, fixed)
    _warn(result, options, console)
    _write_pictures(result, options)
    if options.json:
        console.data(json.dumps(_to_json(result, options), ensure_ascii=False))
    elif options.lists_to_stdout:
        rank1 = f"rank 1: {result.cmc[0]:.2%} of {result.mated} mated searches"
        console.info(rank1 if result.mated else "rank 1: n/a, no search is mated")
    else:
        _show(result, options, console)
    for path in options.outputs:
        console.info(f"wrote {path}")
    return result


def _thresholds(
    options: IdentifyOptions, probes: EmbeddingReader, console: Console
) -> dict[float, float]:
    """Read the thresholds set beforehand for the probes' model, by the FMR they were set at."""
    if options.thresholds is None:
        return {}
    settings = ThresholdFile(options.thresholds).settings_for(
        probes.attributes, options.probes, console
    )
    return {each.calibration.target: each.calibration.threshold for each in settings}


def _write_pictures(result: Identification, options: IdentifyOptions) -> None:
    for plot in options.plots:
        write_whole(plot, _cmc(result, options, plot.suffix[1:].lower()))
    if options.report is not None:
        write_whole(options.report, _page(result, options).encode())


def _search(
    known: Enrolment, probes: EmbeddingReader, top: int, write: Write | None, console: Console
) -> Iterator[Searches]:
    """Yield what came of each block of probes, at last of those without a vector."""
    block = max(1, _SCORES_AT_ONCE // known.gallery.rows)
    if write == console.data and console.is_terminal_out:
        console = Console(-1)  # a bar would run through the lists
    with console.progress("identify", probes.count) as progress:
        for start in range(0, probes.count, block):
            faces = known.read(probes, start, start + block)
            scores = known.gallery.scores(faces)
            scores[~faces.vectors.any(axis=1)] = -np.inf  # no direction, no comparison
            found = read_scores(scores, known.column[faces.place], known.mated[faces.place])
            if write is not None:
                for line in _list_candidates(known, faces.place, found, scores, top):
                    write(line)
            yield found
            progress.update(len(faces))
    rest = np.arange(probes.count, len(known.mated))
    failed = failed_searches(known.mated[rest])
    if write is not None:
        for line in _list_candidates(
            known, rest, failed, np.empty((len(rest), 0), np.float32), top
        ):
            write(line)
    yield failed


def _warn(result: Identification, options: IdentifyOptions, console: Console) -> None:
    if result.unusable_gallery:
        console.warn(
            f"{options.gallery}: {result.unusable_gallery} inputs have no usable embedding; "
            "a person without any other is never found"
        )
    if result.failed_probes:
        console.warn(
            f"{options.probes}: {result.failed_probes} inputs have no usable embedding; "
            "those of people in the gallery count as misses"
        )
    if result.own_photos:
        console.info(
            f"{result.own_photos} probes are in the gallery themselves; each is searched without "
            "its own photo"
        )
    if not result.mated:
        console.warn(
            "no probe shows a person of the gallery; there are only strangers. Who is who is read "
            "from the folders; mfrkit search names faces nobody has named"
        )


_CHART = "Cumulative match characteristic: share of searches whose person is among the first k"


def _cmc(result: Identification, options: IdentifyOptions, kind: str) -> bytes:
    """Draw the CMC as `png`, `svg` or `pdf`."""
    from mfrkit.evaluation.plots import draw_cmc  # loads matplotlib

    return draw_cmc({options.probes.stem: np.array(result.cmc)}, kind)


def _page(result: Identification, options: IdentifyOptions) -> str:
    """Return a complete HTML document: figures, CMC, files and definitions; names are escaped."""
    drawing = _cmc(result, options, "svg").decode() if result.mated else None
    return html_page(
        "identification.html",
        options=options,
        result=result,
        table=_figures_table(result, options, flag="*"),
        charts={_CHART: drawing} if drawing else {},
        definitions=DEFINITIONS,
    )
