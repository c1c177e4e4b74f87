"""Search every probe among known people: who is found, and who is taken for somebody else.

Candidate lists, one JSON record a probe, best first, are written as the search goes along.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, to_line
from mfrkit.evaluation.enrolment import Enrolment, enrol, enrol_classes, load_classifier
from mfrkit.evaluation.identify_results import (
    DEFINITIONS,
    Identification,
    figures_table,
    show,
    summarise,
    to_json,
)
from mfrkit.evaluation.options import IdentifyOptions
from mfrkit.evaluation.threshold_file import ThresholdFile
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing, replacing, write_whole
from mfrkit.metrics.identification import NEVER, Searches, failed_searches, join, read_scores
from mfrkit.pages.html_page import html_page

Write = Callable[[str], object]


@contextmanager
def candidate_lists(options: IdentifyOptions, console: Console) -> Iterator[Write | None]:
    """Give a function that takes one line; None when no lists are wanted.

    Raises:
        OSError: the file system refused.
    """
    if not options.top:
        yield None
    elif options.output is None:
        yield console.data
    else:
        with replacing(options.output) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield lambda line: file.write(line + "\n")


def list_candidates(
    known: Enrolment,
    places: NDArray[np.integer],
    found: Searches,
    scores: NDArray[np.float32],
    top: int,
) -> Iterator[str]:
    """Yield one line for each probe of a block.

    Args:
        known: the gallery and the names of the probes.
        places: (B,) int, where the probes stand in their file.
        found: B searches.
        scores: (B, K) float32, everybody's scores; K = 0 for probes that could not be searched.
        top: most candidates listed.
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
        yield to_line(_record(known, place, int(found.rank[row]), candidates))


def _record(
    known: Enrolment, place: int, rank: int, candidates: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "probe": known.probes.keys[place],
        "identity": known.probes.identities[place],
        "mated": bool(known.mated[place]),
        "rank": None if rank == NEVER else rank,
        "candidates": candidates,
    }


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
        with candidate_lists(options, console) as write:
            searches = join(list(_search(known, probes, options.top, write, console)))
    result = summarise(searches, known, options, fixed)
    _warn(result, options, console)
    _write_pictures(result, options)
    if options.json:
        console.data(json.dumps(to_json(result, options), ensure_ascii=False))
    elif options.lists_to_stdout:
        rank1 = f"rank 1: {result.cmc[0]:.2%} of {result.mated} mated searches"
        console.info(rank1 if result.mated else "rank 1: n/a, no search is mated")
    else:
        show(result, options, console)
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
    if not options.plots and options.report is None:
        return

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
                for line in list_candidates(known, faces.place, found, scores, top):
                    write(line)
            yield found
            progress.update(len(faces))
    rest = np.arange(probes.count, len(known.mated))
    failed = failed_searches(known.mated[rest])
    if write is not None:
        for line in list_candidates(known, rest, failed, np.empty((len(rest), 0), np.float32), top):
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
        table=figures_table(result, options, flag="*"),
        charts={_CHART: drawing} if drawing else {},
        definitions=DEFINITIONS,
    )
