"""How pictures of results look, and how they become bytes.

matplotlib is imported with this module, so import it only when a picture is wanted. Figures are
made without pyplot: no window, no global state, nothing to close.
"""

import io
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from mfrkit.pages.html_page import COLOURS, DASHES, FAINT, GREY, INK

Floats = NDArray[np.float64]

LONGEST_LABEL = 30
MANY_LINES = 6  # a legend of more would hide what it names
_STYLE: Mapping[Any, Any] = MappingProxyType(
    {
        "text.parse_math": False,  # labels are file names, and a dollar sign is one too
        "font.size": 9.0,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.edgecolor": "none",
        "legend.framealpha": 0.9,
        "legend.fontsize": 8.5,
        "svg.hashsalt": "mfrkit",  # the same scores give the same bytes
        "pdf.fonttype": 42,
    }
)
_NO_DATE: Mapping[str, Any] = MappingProxyType(
    {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
)


def render(fill: Callable[[Figure], None], size: tuple[float, float], kind: str) -> bytes:
    """Make a figure of a size in inches in the house style, which `fill` draws into.

    It is returned as `png`, `svg` or `pdf`; the same input gives the same bytes.
    """
    out = io.BytesIO()
    with rc_context(dict(_STYLE)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a label in another script
        figure = Figure(figsize=size, layout="constrained")
        fill(figure)
        figure.savefig(out, format=kind, dpi=160, metadata=_NO_DATE[kind])
    return out.getvalue()


def line_style(place: int) -> dict[str, Any]:
    """Return colour and dashes of the system at a place: the first seven by colour alone."""
    dash = DASHES[place // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": dash, "linewidth": 1.8}


def add_legend(axes: Axes, where: Literal["upper right", "lower right"], otherwise: str) -> None:
    """Name the lines, many of them below the axes, or say why there are none."""
    count = len(axes.get_legend_handles_labels()[0])
    if count > MANY_LINES:
        axes.set_aspect("auto")  # a fixed one leaves the layout no room for the legend
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), borderaxespad=0)
    elif count:
        axes.legend(loc=where)
    else:
        axes.text(
            0.5, 0.5, otherwise, transform=axes.transAxes, ha="center", va="center", color=GREY
        )


def add_grid(axes: Axes) -> None:
    """Draw a faint grid behind the lines."""
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def plain_decades(axis: Axis, unit: float = 1.0) -> None:
    """Name the decades of a logarithmic axis by their numbers, times `unit`."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{unit * value:g}"))
    axis.set_minor_formatter(NullFormatter())


def thinned(x: Floats, y: Floats, step: tuple[float, float]) -> tuple[Floats, Floats]:
    """Drop the points of a curve that lie in the same cell as both their neighbours.

    Points are (T,) float64, places on the page's scale; a cell is too small to be seen.
    """
    cells = np.round(np.stack([x / step[0], y / step[1]]))
    moved = np.any(np.diff(cells, axis=1) != 0, axis=0)
    kept = np.append(True, moved) | np.append(moved, True)
    return x[kept], y[kept]


def short(label: str) -> str:
    """Fit a label into the legend."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
