"""Draw the histories of training runs, as a picture or as a page.

There is one panel for each scalar, all runs over each other.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing, write_whole
from mfrkit.io.scalars import HISTORY, Series, read_history
from mfrkit.pages.html_page import COLOURS, html_page
from mfrkit.pages.plot_style import Floats, add_grid, line_style, plain_decades, render, short
from mfrkit.training.options import CurvesOptions
from mfrkit.training.run_folder import run_folder

Runs = Mapping[str, Mapping[str, Series]]

_PICTURES = (".png", ".svg", ".pdf")
_PAGES = (".html", ".htm")
_LEGEND = (
    "Pale: as written down, means over fit.log_every steps; strong: smoothed. "
    "Marks are checks, the ring is the best one, which the model file holds."
)
_PANEL = (3.6, 2.5)  # inches
_COLUMNS = 3
_SPEED = ("faces_per_second", "data_wait")
_SMOOTHED = 20  # stretches a run is smoothed over
_DECADES = 1.5  # spanned by the values of a panel, from which on its axis is logarithmic


def curves(options: CurvesOptions, console: Console) -> None:
    """Draw runs over each other, a panel for each loss, check and the learning rate.

    Raises:
        InputError: a run without history, nothing to draw, or an output that exists or of a form
            nobody knows.
    """
    suffix = options.output.suffix.lower()
    if suffix not in _PICTURES + _PAGES:
        raise InputError(
            f"{options.output}: expected a name that ends in .png, .svg, .pdf or .html"
        )
    paths = [_find_history(run) for run in options.runs]
    refuse_existing(options.output, force=options.force)
    found = {label: read_history(path) for label, path in zip(_labels(paths), paths, strict=True)}
    for label in [label for label, series in found.items() if not series]:
        console.warn(
            f"{label}: its history is empty as yet; a line comes every fit.log_every steps"
        )
        del found[label]
    if not found:
        raise InputError("nothing to draw; wait for the first lines")
    names = _panel_names(found)
    if suffix in _PAGES:
        charts = {n: _draw_runs(found, [n], "svg", legend=False).decode() for n in names}
        content = _page(found, charts).encode()
    else:
        content = _draw_runs(found, names, suffix[1:])
    write_whole(options.output, content)
    console.info(f"{options.output}: {len(names)} panels, {', '.join(found)}")


def _find_history(run: Path) -> Path:
    """Return the history of a run that is named by its folder, its model or the history itself."""
    if run.is_dir():
        path = run / HISTORY
    else:
        path = run if run.suffix == Path(HISTORY).suffix else run_folder(run) / HISTORY
    if path.is_file():
        return path
    inside = sorted(run.glob(f"*/{HISTORY}"))
    if inside:
        raise InputError(f"{run}: holds runs and is none; name {inside[0].parent}, ...")
    raise InputError(f"{path}: no such history; name a run's folder, its model or its {HISTORY}")


def _labels(paths: Sequence[Path]) -> list[str]:
    """Name runs by their folders, and by all of the path where two would be called the same."""
    names = [path.resolve().parent.stem for path in paths]
    distinct = dict.fromkeys(path.resolve() for path in paths)
    if len(distinct) < len(paths):
        raise InputError("a run is named twice")
    return [
        name if names.count(name) == 1 else str(path.parent)
        for name, path in zip(names, paths, strict=True)
    ]


def _page(runs: Runs, charts: Mapping[str, str]) -> str:
    """Return the page: what each run has come to, and the panels."""
    rows = [
        (label, COLOURS[place % len(COLOURS)], _summary(series))
        for place, (label, series) in enumerate(runs.items())
    ]
    drawings = {f"{name} over steps": drawing for name, drawing in charts.items()}
    return html_page("curves.html", legend=_LEGEND, runs=rows, charts=drawings)


def _summary(series: Mapping[str, Series]) -> tuple[str, str, str, str]:
    """Return steps, last loss, lowest error of a check and its step; a dash for what is missing."""
    steps = max(int(each.steps[-1]) for each in series.values())
    loss = f"{series['loss'].values[-1]:.4g}" if "loss" in series else "–"
    check = series.get("check_error")
    if check is None or not np.isfinite(check.values).any():
        return f"{steps:,}", loss, "–", "–"
    best = int(np.nanargmin(check.values))
    return f"{steps:,}", loss, f"{check.values[best]:.2%}", f"{check.steps[best]:,}"


def _panel_names(runs: Runs) -> list[str]:
    """Return what there is to draw: losses, then checks, then the learning rate; speed is not."""
    names = [name for series in runs.values() for name in series]
    checks = [name for name in names if name.startswith("check_")]
    losses = [n for n in names if n not in (*checks, "loss", "lr", *_SPEED)]
    ends = [[name] if name in names else [] for name in ("loss", "lr")]
    return list(dict.fromkeys([*ends[0], *losses, *checks, *ends[1]]))


def _draw_runs(runs: Runs, names: Sequence[str], kind: str, *, legend: bool = True) -> bytes:
    """Draw panels beside and below each other as a picture: `png`, `svg` or `pdf`.

    The same input gives the same bytes.
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

    A value that is NaN stays so, and counts nowhere.
    """
    reach = len(values) // _SMOOTHED // 2 or (len(values) >= _SMOOTHED)
    window = np.ones(2 * reach + 1)
    known = np.isfinite(values)
    counts = np.convolve(known, window)[reach : reach + len(values)]
    sums = np.convolve(np.where(known, values, 0.0), window)[reach : reach + len(values)]
    return np.where(known, sums / np.maximum(counts, 1), np.nan)
