"""HTML reports: one file that needs nothing else, neither scripts nor a network.

A page follows the reader's light or dark setting, fits a telephone, and prints. Charts have the
same colours on screen and on paper. How pages look is told by the templates beside this file, which
escape whatever text they are given.
"""

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mfrkit import __version__

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
INK, FAINT, GREY, PAPER = "#222222", "#d9d9d9", "#9a9a9a", "#ffffff"
_METADATA = re.compile("<metadata>.*?</metadata>", re.DOTALL)
_GROUP_NAME = re.compile('<g id="[^"]*">')  # nothing refers to groups, and charts share the names
# A chart takes the colours of the page, so that it can be read on dark paper too.
_PAGE_COLOURS: Mapping[str, str] = MappingProxyType(
    {INK: "currentColor", PAPER: "var(--paper)", FAINT: "var(--line)", "#000000": "currentColor"}
)


class InlinePicture(NamedTuple):
    """A picture in a page: what it shows, or why there is none, and its content, `data:...`."""

    label: str
    source: str = ""


def inline_picture(content: bytes, kind: str, label: str) -> InlinePicture:
    """Return an encoded picture, `png` or `jpeg`, for a page."""
    return InlinePicture(
        label, f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    )


def html_page(template: str, **content: Any) -> str:
    """Return a complete document of a template's file name and what the template names.

    All text is escaped. Charts are SVG as matplotlib writes it, by what each shows.
    """
    return _TEMPLATES.get_template(template).render(version=__version__, **content)


def _in_page_colours(drawing: str, label: str) -> Markup:
    """Return an SVG in the page's colours, described for screen readers."""
    content = drawing[drawing.index("<svg") + len("<svg") :]
    content = _GROUP_NAME.sub("<g>", _METADATA.sub("", content))
    for colour, variable in _PAGE_COLOURS.items():
        content = content.replace(f": {colour}", f": {variable}")
    return Markup('<svg role="img" aria-label="{}"').format(label) + Markup(content)


_TEMPLATES = Environment(
    loader=PackageLoader("mfrkit.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters["in_page_colours"] = _in_page_colours
