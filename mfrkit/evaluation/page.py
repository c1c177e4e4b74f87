"""The HTML page of an evaluation: figures, charts, and the pairs a system gets most wrong.

Pairs are shown as pictures to look at: often they explain a figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mfrkit.errors import ImageError, InputError
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.plots import PANELS, Panel, draw
from mfrkit.evaluation.results import DEFINITIONS, SystemResult
from mfrkit.evaluation.tables import counts_table, results_table
from mfrkit.io.images import encode_image, read_image
from mfrkit.io.packed import Packed
from mfrkit.io.pairs import PairList
from mfrkit.pages.contact_sheet import fit
from mfrkit.pages.html_page import chart, definition_list, html_page, inline_picture
from mfrkit.pages.table import Table, to_html
from mfrkit.stages.pack import find_crops

_SHOWN = 6  # pairs of each kind
_KINDS = ((True, "one person, lowest scores"), (False, "two people, highest scores"))
_SIDE, _QUALITY = 112, 85


@dataclass(frozen=True)
class CropFolders:
    """Where the pictures of one system's pairs are.

    Attributes:
        first: folder or manifest of each pair's first picture, None for no pictures.
        second: of the second picture.
    """

    first: str | None = None
    second: str | None = None


def worst_places(pairs: PairList, result: SystemResult, *, same: bool) -> list[int]:
    """Return the pairs of one kind that a system gets most wrong, the worst first.

    Failed comparisons are left out: they have no score that could be wrong.

    Args:
        pairs: the pair list.
        result: scores of the system.
        same: True for the lowest scores of one person, False for the highest of two.
    """
    chosen = np.flatnonzero((pairs.same == same) & result.counted & np.isfinite(result.scores))
    scores = result.scores[chosen] if same else -result.scores[chosen]
    return chosen[np.argsort(scores, kind="stable")[:_SHOWN]].tolist()


def worst_pairs(
    pairs: PairList, results: Sequence[SystemResult], folders: Sequence[CropFolders]
) -> list[str]:
    """Lay out the worst pairs of every system as HTML.

    Args:
        pairs: the pair list.
        results: the systems.
        folders: of each system; pictures that are not there leave an empty frame.

    Raises:
        InputError: a folder that does not exist, or has a damaged manifest.
    """
    places = [
        {same: worst_places(pairs, result, same=same) for same in (True, False)}
        for result in results
    ]
    keys = {
        key
        for kinds in places
        for chosen in kinds.values()
        for place in chosen
        for key in (pairs.a[place], pairs.b[place])
    }
    sources = {source for folder in folders for source in (folder.first, folder.second) if source}
    paths = {source: find_crops(source, keys) for source in sorted(sources)}
    html = []
    for result, kinds, folder in zip(results, places, folders, strict=True):
        first, second = (paths.get(source or "", {}) for source in (folder.first, folder.second))
        for same, heading in _KINDS:
            if not kinds[same]:
                continue
            html.append(f"<h3>{escape(result.label)}: {heading}</h3>")
            shown = [_pair(pairs, result, place, first, second) for place in kinds[same]]
            html.append('<div class="pairs">\n' + "\n".join(shown) + "\n</div>")
    return html


def _pair(
    pairs: PairList,
    result: SystemResult,
    place: int,
    first: Mapping[str, Path | Packed],
    second: Mapping[str, Path | Packed],
) -> str:
    a, b = pairs.a[place], pairs.b[place]
    faces = ""
    if first or second:
        faces = f'<div class="faces">{_face(first.get(a), a)}{_face(second.get(b), b)}</div>'
    names = f"{escape(_name(a))}<br>{escape(_name(b))}"
    hint = escape(f"{a} and {b}, line {pairs.line[place]}")
    score = f"{result.scores[place]:.3f}"
    return f'<figure title="{hint}">{faces}<figcaption><b>{score}</b> {names}</figcaption></figure>'


def _face(path: Path | Packed | None, key: str) -> str:
    if path is None:
        return "<span>no picture</span>"
    try:
        picture = fit(read_image(path), _SIDE)
    except ImageError as error:
        return f"<span>{escape(str(error))}</span>"
    return inline_picture(encode_image(picture, ".jpg", quality=_QUALITY), "jpeg", key)


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def html_report(
    pairs: PairList,
    results: Sequence[SystemResult],
    tables: Sequence[Table],
    charts: Mapping[str, str],
    worst: Sequence[str] = (),
    pictures: Sequence[Path] = (),
) -> str:
    """Lay out everything that is known about the systems.

    Args:
        pairs: the pair list.
        results: the systems, in table order.
        tables: of figures, the most important first, which stands above the charts.
        charts: what each shows -> SVG.
        worst: HTML of the worst pairs, see `mfrkit.evaluation.page`.
        pictures: PNG files to show above the tables, for example a contact sheet.

    Returns:
        A complete HTML document; all names are escaped.

    Raises:
        InputError: a picture that cannot be read.
    """
    body = [
        "<h1>Face verification</h1>",
        f'<p class="lead">{escape(_summary(pairs))}</p>',
        *(_picture(path) for path in pictures),
        _section(tables[0]),
        "<h2>Error rates and scores</h2>",
        f'<div class="charts">{"".join(chart(svg, name) for name, svg in charts.items())}</div>',
        *map(_section, tables[1:]),
    ]
    if worst:
        body += ["<h2>Worst pairs</h2>", *worst]
    body += ["<h2>Systems</h2>", _sources(results), "<h2>Definitions</h2>", _definitions()]
    return html_page(f"Face verification: {pairs.path.name}", body)


def _section(table: Table) -> str:
    return f"<h2>{escape(table.title)}</h2>\n{to_html(table)}"


def _summary(pairs: PairList) -> str:
    genuine = int(pairs.same.sum())
    images = len({*pairs.a, *pairs.b})
    return (
        f"{pairs.path.name}: {len(pairs)} pairs of {images} images, {genuine} of one person and "
        f"{len(pairs) - genuine} of two, in {len(set(pairs.fold.tolist()))} folds"
    )


def _picture(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
    return f"<p>{inline_picture(content, 'png', path.stem)}</p>"


def _sources(results: Sequence[SystemResult]) -> str:
    entries = []
    for result in results:
        files = [result.embeddings] + ([result.probes] if result.probes else [])
        text = " and ".join(f"<code>{escape(str(path))}</code>" for path in files)
        for name in ("model", "weights_sha256"):
            if result.attributes.get(name):
                text += f", {name} <code>{escape(str(result.attributes[name]))}</code>"
        entries.append((result.label, text))
    return definition_list(entries)


def _definitions() -> str:
    return definition_list([(name, escape(text)) for name, text in DEFINITIONS.items()])


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
    """Return the whole page.

    Args:
        pairs: the list.
        results: the systems.
        further: tables that go below the figures: intervals, thresholds, groups.
        options: what else the page shows.

    Raises:
        InputError: a picture or a folder of crops that cannot be read.
    """
    charts = {
        _CHARTS[panel]: draw(pairs.same, results, "svg", [panel]).decode() for panel in PANELS
    }
    return html_report(
        pairs,
        results,
        [results_table(results, options.far), *further, counts_table(results)],
        charts,
        worst_pairs(pairs, results, _folders(results, options)),
        options.pictures,
    )


def _folders(results: Sequence[SystemResult], options: EvalOptions) -> list[CropFolders]:
    """Say where each system's crops are; one folder serves all, others are given for each EMB."""
    folders = []
    for place, result in enumerate(results):
        first, second = (
            given[place] if place < len(given) else (given[0] if given else None)
            for given in (options.crops, options.probe_crops)
        )
        # With probes, the second picture of a pair is not the one of that name among the first.
        folders.append(CropFolders(first, first if result.probes is None else second))
    return folders
