"""The frame of an HTML report: one file that needs nothing else, neither scripts nor a network.

It follows the reader's light or dark setting, fits a telephone, and prints. Charts have the same
colours on screen and on paper.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType

from mfrkit import __version__

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
INK, FAINT, GREY, PAPER = "#222222", "#d9d9d9", "#9a9a9a", "#ffffff"


_STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #5c5c5c; --line: #d9d9d9; --paper: #fff; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a6a6a6; --line: #3d3f43; --paper: #17181a; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 76rem; margin: 2.5rem auto; padding: 0 1.25rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: .95rem; margin: 1.4rem 0 .5rem; }
.lead, .note, footer, dd, figcaption { color: var(--soft); }
.lead { margin: 0; }
.note, footer { font-size: .85rem; }
footer { margin-top: 3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; text-align: right; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--ink); }
tr > :first-child { text-align: left; font-weight: 600; min-width: 6rem; max-width: 16rem;
                    overflow-wrap: anywhere; }
thead th[colspan] { text-align: center; border-bottom: 1px solid var(--line); }
svg, img { max-width: 100%; height: auto; }
svg { color: var(--ink); }
figure { margin: 0; }
.charts { display: grid; gap: 1.5rem;
          grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); }
.charts svg { width: 100%; }
.pairs { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
.pairs figcaption { font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; }
.pairs b { color: var(--ink); display: block; }
.faces { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.faces > * { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 3px; }
.faces > span { display: grid; place-items: center; padding: .2rem; text-align: center;
                font-size: .7rem; color: var(--soft); border: 1px dashed var(--line); }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .3rem 1.2rem;
     font-size: .88rem; }
dt { font-weight: 600; } dd { margin: 0; min-width: 0; }
code { font-size: .85em; overflow-wrap: anywhere; }
@media (max-width: 34rem) { body { margin: 1.2rem auto; padding: 0 .9rem; } dl { display: block; }
                            dd { margin-bottom: .6rem; } }
@media print { body { max-width: none; margin: 0; font-size: 12px; } table { font-size: 9px; }
               th, td { padding: .25rem .3rem; } h2, h3 { break-after: avoid; }
               figure, tr, dd { break-inside: avoid; } .wide { overflow: visible; }
               .charts { grid-template-columns: repeat(3, 1fr); } }
""".strip()
_METADATA = re.compile("<metadata>.*?</metadata>", re.DOTALL)
_GROUP_NAME = re.compile('<g id="[^"]*">')  # nothing refers to groups, and charts share the names
# Nothing may be loaded from anywhere, and nothing may run.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# A chart takes the colours of the page, so that it can be read on dark paper too.
_PAGE_COLOURS: Mapping[str, str] = MappingProxyType(
    {INK: "currentColor", PAPER: "var(--paper)", FAINT: "var(--line)", "#000000": "currentColor"}
)


def html_page(title: str, body: Sequence[str]) -> str:
    """Return a complete document.

    Args:
        title: of the window.
        body: HTML, in order.
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{_STYLE}\n</style></head><body>",
            *body,
            f"<footer>mfrkit {escape(__version__)}</footer>",
            "</body></html>\n",
        ]
    )


def chart(drawing: str, label: str) -> str:
    """Put an SVG into a page: in the page's colours, described for screen readers.

    Args:
        drawing: SVG as matplotlib writes it.
        label: what it shows.
    """
    content = drawing[drawing.index("<svg") + len("<svg") :]
    content = _GROUP_NAME.sub("<g>", _METADATA.sub("", content))
    for colour, variable in _PAGE_COLOURS.items():
        content = content.replace(f": {colour}", f": {variable}")
    return f'<figure><svg role="img" aria-label="{escape(label)}"{content}</figure>'


def inline_picture(content: bytes, kind: str, label: str) -> str:
    """Put a picture into a page.

    Args:
        content: the encoded picture.
        kind: `png` or `jpeg`.
        label: what it shows.
    """
    data = base64.b64encode(content).decode("ascii")
    return f'<img src="data:image/{kind};base64,{data}" alt="{escape(label)}">'


def definition_list(entries: Sequence[tuple[str, str]]) -> str:
    """Return terms and what they mean.

    Args:
        entries: each term as text, and its meaning as HTML.
    """
    lines = [f"<dt>{escape(term)}</dt><dd>{meaning}</dd>" for term, meaning in entries]
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"
