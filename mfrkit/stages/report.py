"""The evaluation as one HTML page that needs nothing else: no scripts, no files beside it."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from mfrkit import __version__
from mfrkit.errors import InputError
from mfrkit.io.pairs import PairList
from mfrkit.stages.results import DEFINITIONS, SystemResult, columns, row

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 76rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p.lead { color: #555; margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; text-align: right; border-bottom: 1px solid #e3e3e3; }
th { vertical-align: bottom; border-bottom: 2px solid #222; }
th:first-child, td:first-child { text-align: left; font-weight: 600; }
svg, img { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; font-size: .88rem; }
dt { font-weight: 600; } dd { margin: 0; color: #444; }
code { font-size: .85em; overflow-wrap: anywhere; }
.note, footer { color: #666; font-size: .85rem; }
footer { margin-top: 3rem; }
""".strip()


def html_report(
    pairs: PairList,
    results: Sequence[SystemResult],
    far: Sequence[float],
    drawing: str,
    pictures: Sequence[Path] = (),
) -> str:
    """Lay out the table, the picture of the error rates, and what each figure means.

    Args:
        pairs: the pair list.
        results: the systems, in table order.
        far: the FARs at which the TAR is reported.
        drawing: the picture of the error rates, as SVG.
        pictures: PNG files to show above the table, for example a contact sheet.

    Returns:
        A complete HTML document; all names are escaped.

    Raises:
        InputError: a picture that cannot be read.
    """
    genuine = int(pairs.same.sum())
    summary = (
        f"{pairs.path.name}: {len(pairs)} pairs, {genuine} of one person and "
        f"{len(pairs) - genuine} of two, in {len(set(pairs.fold.tolist()))} folds"
    )
    body = [
        "<h1>Face verification</h1>",
        f'<p class="lead">{escape(summary)}</p>',
        *(_picture(path) for path in pictures),
        "<h2>Results</h2>",
        _table(results, far),
        "<h2>Error rates and scores</h2>",
        _inline(drawing),
        "<h2>Embeddings</h2>",
        _sources(results),
        "<h2>Definitions</h2>",
        _definitions(),
        f"<footer>mfrkit {escape(__version__)}</footer>",
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Face verification: {escape(pairs.path.name)}</title>",
            f"<style>\n{STYLE}\n</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def _table(results: Sequence[SystemResult], far: Sequence[float]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns(far))
    rows = [row(result, flag="*") for result in results]
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    note = ""
    if any(cell.endswith("*") for cells in rows for cell in cells[1:]):
        note = '<p class="note">* rests on fewer impostor pairs than 1/FAR.</p>'
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n{note}"
    )


def _inline(drawing: str) -> str:
    """Put an SVG into the page: without the XML header, with a description for screen readers."""
    start = drawing.index("<svg")
    label = 'role="img" aria-label="Detection error trade-off and score histograms"'
    return f"<svg {label}{drawing[start + len('<svg') :]}"


def _picture(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
    data = base64.b64encode(content).decode("ascii")
    return f'<p><img src="data:image/png;base64,{data}" alt="{escape(path.stem)}"></p>'


def _sources(results: Sequence[SystemResult]) -> str:
    lines = []
    for result in results:
        files = [result.embeddings] + ([result.probes] if result.probes else [])
        text = " and ".join(f"<code>{escape(str(path))}</code>" for path in files)
        for name in ("model", "weights_sha256"):
            if result.attributes.get(name):
                text += f", {name} <code>{escape(str(result.attributes[name]))}</code>"
        lines.append(f"<dt>{escape(result.label)}</dt><dd>{text}</dd>")
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def _definitions() -> str:
    lines = [
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in DEFINITIONS.items()
    ]
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"
