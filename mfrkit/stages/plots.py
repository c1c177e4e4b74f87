"""Pictures of results: error curves and score histograms of an evaluation, and the CMC.

matplotlib is imported with this module, so import it only when a picture is wanted.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
from mfrkit.stages.plot_curves import draw_det, draw_roc
from mfrkit.stages.plot_histograms import draw_histograms
from mfrkit.stages.plot_style import (
    MANY_LINES,
    add_grid,
    add_legend,
    line_style,
    plain_decades,
    render,
    short,
)
from mfrkit.stages.results import SystemResult

Panel = Literal["det", "roc", "scores"]
PANELS: tuple[Panel, ...] = ("det", "roc", "scores")
_PANEL = (4.7, 4.5)  # inches: narrow enough to be read on a telephone
_ROW = 0.75  # height of one system's histogram
_LEGEND = 0.17  # of one line of a legend below the axes
_MANY_RANKS = 50  # from here on the ranks get a logarithmic axis


def draw(
    same: NDArray[np.bool_],
    results: Sequence[SystemResult],
    kind: str,
    panels: Sequence[Panel] = PANELS,
) -> bytes:
    """Draw all systems in one picture.

    Args:
        same: (P,) bool, whether each pair shows one person.
        results: the systems, in the order of the legend.
        kind: `png`, `svg` or `pdf`.
        panels: what to draw, from left to right.

    Returns:
        The encoded picture; the same input gives the same bytes.
    """

    def fill(figure: Figure) -> None:
        parts = figure.subfigures(1, len(panels), squeeze=False)[0]
        for panel, part in zip(panels, parts, strict=True):
            if panel == "scores":
                draw_histograms(part, same, results)
            else:
                {"det": draw_det, "roc": draw_roc}[panel](part.subplots(), same, results)

    count = len(results)
    height = _PANEL[1] + (_LEGEND * count if count > MANY_LINES else 0)
    if "scores" in panels:
        height = max(1.2 + _ROW * count, _PANEL[1] if len(panels) == 1 else height)
    return render(fill, (_PANEL[0] * len(panels), height), kind)


def draw_cmc(rates: Mapping[str, NDArray[np.float64]], kind: str) -> bytes:
    """Draw cumulative match characteristics.

    Args:
        rates: label of each system -> (R,) float64, the share in [0, 1] of mated searches whose
            mate is among the first 1, 2, ..., R candidates.
        kind: `png`, `svg` or `pdf`.

    Returns:
        The encoded picture; the same input gives the same bytes.

    Raises:
        ShapeError: rates that are not one-dimensional, or empty.
    """
    for label, rate in rates.items():
        if rate.ndim != 1 or not rate.size:
            raise ShapeError(f"{label}: expected a rate for each rank, got shape {rate.shape}")

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        longest = max((rate.size for rate in rates.values()), default=1)
        for place, (label, rate) in enumerate(rates.items()):
            name = f"{short(label)}   rank 1: {100 * rate[0]:.2f} %"
            marker = "o" if rate.size <= 10 else None
            ranks = np.arange(1, rate.size + 1)
            axes.plot(ranks, rate, **line_style(place), marker=marker, markersize=4, label=name)
        lowest = min((float(rate[0]) for rate in rates.values()), default=0.0)
        axes.set(
            xscale="log" if longest > _MANY_RANKS else "linear",
            xlim=(1, max(longest, 2)),
            ylim=(min(np.floor(10 * lowest) / 10, 0.9), 1.002),
            title="Cumulative match characteristic",
            xlabel="rank",
            ylabel="identification rate (%)",
        )
        if longest > _MANY_RANKS:
            plain_decades(axes.xaxis)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
        add_grid(axes)
        add_legend(axes, "lower right", "no mated searches")

    return render(fill, _PANEL, kind)
