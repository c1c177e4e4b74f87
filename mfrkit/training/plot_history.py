"""Training runs as curves: one panel for each scalar, all runs over each other.

matplotlib is imported with this module, so import it only when a picture is wanted.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mfrkit.io.history import Series
from mfrkit.pages.plot_style import Floats, add_grid, line_style, plain_decades, render, short

Runs = Mapping[str, Mapping[str, Series]]

_PANEL = (3.6, 2.5)  # inches
_COLUMNS = 3
_SPEED = ("faces_per_second", "data_wait")
_SMOOTHED = 20  # stretches a run is smoothed over
_DECADES = 1.5  # spanned by the values of a panel, from which on its axis is logarithmic


def panel_names(runs: Runs) -> list[str]:
    """Return what there is to draw: losses, then checks, then the learning rate; speed is not."""
    names = [name for series in runs.values() for name in series]
    checks = [name for name in names if name.startswith("check_")]
    losses = [n for n in names if n not in (*checks, "loss", "lr", *_SPEED)]
    ends = [[name] if name in names else [] for name in ("loss", "lr")]
    return list(dict.fromkeys([*ends[0], *losses, *checks, *ends[1]]))


def draw_runs(runs: Runs, names: Sequence[str], kind: str, *, legend: bool = True) -> bytes:
    """Draw panels beside and below each other.

    Args:
        runs: their scalars, by what the legend calls them.
        names: of the scalars, each with a panel.
        kind: `png`, `svg` or `pdf`.
        legend: say above them which run is which.

    Returns:
        The encoded picture; the same input gives the same bytes.
    """
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)

    def fill(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _draw_panel(axes, name, runs)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        if legend:
            lines = [Line2D([], [], **line_style(place)) for place in range(len(runs))]
            figure.legend(lines, [*map(short, runs)], loc="outside upper left", ncols=columns)

    return render(fill, (_PANEL[0] * columns, _PANEL[1] * rows + 0.4 * legend), kind)


def _draw_panel(axes: Axes, name: str, runs: Runs) -> None:
    """Draw a scalar of all runs that have it: checks as marks, others smoothed over what is raw."""
    drawn: list[Floats] = []
    for place, series in enumerate(runs.values()):
        if name not in series:
            continue
        steps, values = series[name].steps, series[name].values
        style = line_style(place)
        drawn.append(values)
        if name.startswith("check_"):
            axes.plot(steps, values, **{**style, "linewidth": 1.0}, marker="o", markersize=4.5)
            if name == "check_error" and np.isfinite(values).any():
                best = [int(np.nanargmin(values))]  # what the model file holds
                axes.plot(
                    steps[best], values[best], "o", color=style["color"], markersize=9, mfc="none"
                )
            continue
        smooth = values if name == "lr" else smoothed(values)
        axes.plot(steps, values, color=style["color"], alpha=0.4, linewidth=0.8)
        axes.plot(steps, smooth, **style, marker="." if len(steps) == 1 else None)
    if name != "lr" and _spans_decades(np.concatenate(drawn)):
        axes.set_yscale("log")
        plain_decades(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set(title=name.replace("check_", "check: ").replace("_", " "), xlabel="step")
    add_grid(axes)


def _spans_decades(values: Floats) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and np.ptp(np.log10(finite)) > _DECADES)


def smoothed(values: Floats) -> NDArray[np.float64]:
    """Return means over a twentieth of a curve round each value, which do not lag behind it.

    Args:
        values: (N,) float64; one that is NaN stays so, and counts nowhere.

    Example:
        >>> smoothed(np.array([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0]
    """
    reach = len(values) // _SMOOTHED // 2 or (len(values) >= _SMOOTHED)
    window = np.ones(2 * reach + 1)
    known = np.isfinite(values)
    counts = np.convolve(known, window)[reach : reach + len(values)]
    sums = np.convolve(np.where(known, values, 0.0), window)[reach : reach + len(values)]
    return np.where(known, sums / np.maximum(counts, 1), np.nan)
