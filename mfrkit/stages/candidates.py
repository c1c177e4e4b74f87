"""The candidate lists of an identification: one JSON record for each probe, best first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, to_line
from mfrkit.io.files import replacing
from mfrkit.metrics.identification import NEVER, Searches
from mfrkit.stages.enrolment import Enrolment
from mfrkit.stages.identify_options import IdentifyOptions

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
