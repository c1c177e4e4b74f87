"""The HTML page of an evaluation: figures, charts, and the pairs a system gets most wrong.

Pairs are shown as pictures to look at: often they explain a figure.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mfrkit.errors import ImageError, InputError
from mfrkit.evaluation.options import EvalOptions, one_of
from mfrkit.evaluation.plots import PANELS, Panel, draw
from mfrkit.evaluation.results import DEFINITIONS, SystemResult
from mfrkit.evaluation.tables import counts_table, results_table
from mfrkit.io.images import Packed, encode_image, read_image
from mfrkit.io.pairs import PairList
from mfrkit.pages.contact_sheet import fit
from mfrkit.pages.html_page import InlinePicture, html_page, inline_picture
from mfrkit.pages.table import Table
from mfrkit.stages.pack import find_crops

_SHOWN = 6  # pairs of each kind
_KINDS = ((True, "one person, lowest scores"), (False, "two people, highest scores"))
_SIDE, _QUALITY = 112, 85
_CROPS = "crops"  # serve if they are there and no others are named


def worst_places(pairs: PairList, result: SystemResult, *, same: bool) -> list[int]:
    """Return the pairs of one kind that a system gets most wrong, the worst first.

    Failed comparisons are left out: they have no score that could be wrong. Wrong are the lowest
    scores of one person (`same`) and the highest of two.
    """
    chosen = np.flatnonzero((pairs.same == same) & result.counted & np.isfinite(result.scores))
    scores = result.scores[chosen] if same else -result.scores[chosen]
    return chosen[np.argsort(scores, kind="stable")[:_SHOWN]].tolist()


class WorstPair(NamedTuple):
    """A pair as it is shown: short names and faces of both pictures, and the keys and the line."""

    score: float
    names: tuple[str, str]
    hint: str
    faces: tuple[InlinePicture, ...]


class WorstPairs(NamedTuple):
    """Pairs of one kind that one system gets wrong, under a heading."""

    heading: str
    pairs: list[WorstPair]


def _worst_pairs(
    pairs: PairList, results: Sequence[SystemResult], options: EvalOptions
) -> list[WorstPairs]:
    """Return the worst pairs of every system; pictures that are not there leave an empty frame."""
    groups = [
        (result, folders, kind, worst_places(pairs, result, same=same))
        for result, folders in zip(results, _folders(results, options), strict=True)
        for same, kind in _KINDS
    ]
    shown = {place for *_, places in groups for place in places}
    keys = {key for place in shown for key in (pairs.a[place], pairs.b[place])}
    sources = {source for _, folders, *_ in groups for source in folders if source}
    paths = {source: find_crops(source, keys) for source in sorted(sources)}
    found = []
    for result, folders, kind, places in groups:
        first, second = (paths.get(source or "", {}) for source in folders)
        if places:
            worst = [_pair(pairs, result, place, first, second) for place in places]
            found.append(WorstPairs(f"{result.label}: {kind}", worst))
    return found


def _folders(
    results: Sequence[SystemResult], options: EvalOptions
) -> list[tuple[str | None, str | None]]:
    """Say where each system's first and second crops are."""
    if not options.thumbnails:
        return [(None, None)] * len(results)
    crops = options.crops or ((_CROPS,) if Path(_CROPS).is_dir() else ())
    folders = []
    for place, result in enumerate(results):
        first, second = one_of(crops, place), one_of(options.probe_crops, place)
        # With probes, the second picture of a pair is not the one of that name among the first.
        folders.append((first, first if result.probes is None else second))
    return folders


def _pair(
    pairs: PairList,
    result: SystemResult,
    place: int,
    first: Mapping[str, Path | Packed],
    second: Mapping[str, Path | Packed],
) -> WorstPair:
    a, b = pairs.a[place], pairs.b[place]
    return WorstPair(
        float(result.scores[place]),
        (a.rpartition("/")[2], b.rpartition("/")[2]),
        f"{a} and {b}, line {pairs.line[place]}",
        (_face(first.get(a), a), _face(second.get(b), b)) if first or second else (),
    )


def _face(path: Path | Packed | None, key: str) -> InlinePicture:
    if path is None:
        return InlinePicture("no picture")
    try:
        picture = fit(read_image(path), _SIDE)
    except ImageError as error:
        return InlinePicture(str(error))
    return inline_picture(encode_image(picture, ".jpg", quality=_QUALITY), "jpeg", key)


def _summary(pairs: PairList) -> str:
    genuine = int(pairs.same.sum())
    images = len({*pairs.a, *pairs.b})
    return (
        f"{pairs.path.name}: {len(pairs)} pairs of {images} images, {genuine} of one person and "
        f"{len(pairs) - genuine} of two, in {len(set(pairs.fold.tolist()))} folds"
    )


def _picture(path: Path) -> InlinePicture:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
    return inline_picture(content, "png", path.stem)


_CHARTS: Mapping[Panel, str] = MappingProxyType(
    {
        "det": "Detection error trade-off: false non-match rate over false match rate",
        "roc": "Receiver operating characteristic: true accept rate over false accept rate",
        "scores": "Histograms of the scores of pairs of one person and of two people",
    }
)


def report_page(
    pairs: PairList,
    results: Sequence[SystemResult],
    further: Sequence[Table],
    options: EvalOptions,
) -> str:
    """Return the whole page; all names are escaped.

    Args:
        pairs: the list.
        results: the systems.
        further: tables that go below the figures: intervals, thresholds, groups.
        options: what else the page shows.

    Raises:
        InputError: a picture or a folder of crops that is not there, or cannot be read.
    """
    charts = {
        _CHARTS[panel]: draw(pairs.same, results, "svg", [panel]).decode() for panel in PANELS
    }
    return html_page(
        "verification.html",
        name=pairs.path.name,
        summary=_summary(pairs),
        pictures=[_picture(path) for path in options.pictures],
        # The most important one stands above the charts.
        tables=[results_table(results, options.fars), *further, counts_table(results)],
        charts=charts,
        worst=_worst_pairs(pairs, results, options),
        systems=results,
        definitions=DEFINITIONS,
    )
