"""The evaluation as one HTML page: figures, charts, the worst pairs, and what everything means."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from mfrkit.errors import InputError
from mfrkit.io.pairs import PairList
from mfrkit.stages.html_page import chart, definition_list, html_page, inline_picture
from mfrkit.stages.results import DEFINITIONS, SystemResult
from mfrkit.stages.table import Table
from mfrkit.stages.table_formats import to_html


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
        worst: HTML of the worst pairs, see `mfrkit.stages.worst_pairs`.
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
