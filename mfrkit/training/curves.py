"""Draw the histories of training runs, as a picture or as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing, write_whole
from mfrkit.io.history import HISTORY, Series, read_history
from mfrkit.pages.html_page import COLOURS, html_page
from mfrkit.training.options import CurvesOptions
from mfrkit.training.run_folder import run_folder

_PICTURES = (".png", ".svg", ".pdf")
_PAGES = (".html", ".htm")
_LEGEND = (
    "Pale: as written down, means over fit.log_every steps; strong: smoothed. "
    "Marks are checks, the ring is the best one, which the model file holds."
)


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
    paths = [find_history(run) for run in options.runs]
    refuse_existing(options.output, force=options.force)
    found = {label: read_history(path) for label, path in zip(_labels(paths), paths, strict=True)}
    for label in [label for label, series in found.items() if not series]:
        console.warn(
            f"{label}: its history is empty as yet; a line comes every fit.log_every steps"
        )
        del found[label]
    if not found:
        raise InputError("nothing to draw; wait for the first lines")
    from mfrkit.training.plot_history import draw_runs, panel_names

    names = panel_names(found)
    if suffix in _PAGES:
        charts = {n: draw_runs(found, [n], "svg", legend=False).decode() for n in names}
        content = _page(found, charts).encode()
    else:
        content = draw_runs(found, names, suffix[1:])
    write_whole(options.output, content)
    console.info(f"{options.output}: {len(names)} panels, {', '.join(found)}")


def find_history(run: Path) -> Path:
    """Return the history of a run that is named by its folder, its model or the history itself.

    Raises:
        InputError: there is none.
    """
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


def _page(runs: Mapping[str, Mapping[str, Series]], charts: Mapping[str, str]) -> str:
    """Return the page: what each run has come to, and the panels."""
    rows = [
        (label, COLOURS[place % len(COLOURS)], _summary(series))
        for place, (label, series) in enumerate(runs.items())
    ]
    drawings = {f"{name} over steps": drawing for name, drawing in charts.items()}
    return html_page("curves.html", legend=_LEGEND, runs=rows, charts=drawings)


def _summary(series: Mapping[str, Series]) -> tuple[str, str, str, str]:
    """Return steps, last loss, lowest error of a check and its step; a dash for what is not there.

    Example:
        >>> _summary({"loss": Series(np.array([20, 40]), np.array([2.0, 1.5]))})
        ('40', '1.5', '–', '–')
    """
    steps = max(int(each.steps[-1]) for each in series.values())
    loss = f"{series['loss'].values[-1]:.4g}" if "loss" in series else "–"
    check = series.get("check_error")
    if check is None or not np.isfinite(check.values).any():
        return f"{steps:,}", loss, "–", "–"
    best = int(np.nanargmin(check.values))
    return f"{steps:,}", loss, f"{check.values[best]:.2%}", f"{check.steps[best]:,}"
