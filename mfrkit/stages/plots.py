"""The picture of an evaluation: error trade-off (DET) on the left, score histograms on the right.

matplotlib is imported with this module, so import it only when a picture is wanted. Figures are
made without pyplot: no window, no global state, nothing to close.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray
from scipy.special import ndtri

from mfrkit.metrics.roc import Roc, roc
from mfrkit.stages.results import SystemResult, percent

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
INK, FAINT, IMPOSTOR = "#222222", "#d9d9d9", "#9a9a9a"
TICKS = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
LONGEST_LABEL = 30
STYLE: Mapping[Any, Any] = MappingProxyType(
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
        "xtick.color": INK,
        "ytick.color": INK,
        "svg.hashsalt": "mfrkit",  # the same scores give the same bytes
        "pdf.fonttype": 42,
    }
)
NO_DATE: Mapping[str, Any] = MappingProxyType(
    {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
)


def draw(same: NDArray[np.bool_], results: Sequence[SystemResult], kind: str) -> bytes:
    """Draw all systems in one picture.

    Args:
        same: (P,) bool, whether each pair shows one person.
        results: the systems, in the order of the legend.
        kind: `png`, `svg` or `pdf`.

    Returns:
        The encoded picture; the same input gives the same bytes.
    """
    out = io.BytesIO()
    with rc_context(dict(STYLE)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a label in another script
        height = max(4.9, 1.2 + 0.75 * len(results))
        figure = Figure(figsize=(11.0, height), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, wspace=0.04)[0]
        _draw_det(left.subplots(), same, results)
        _draw_histograms(
            right.subplots(len(results), 1, sharex=True, squeeze=False)[:, 0], same, results
        )
        figure.savefig(out, format=kind, dpi=160, metadata=NO_DATE[kind])
    return out.getvalue()


def _draw_det(axes: Axes, same: NDArray[np.bool_], results: Sequence[SystemResult]) -> None:
    curves = [roc(result.scores[result.counted], same[result.counted]) for result in results]
    low, high = _det_range(curves, results)
    for place, (curve, result) in enumerate(zip(curves, results, strict=True)):
        if not curve.is_defined:
            continue
        colour, dash = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
        x, y = _det_points(curve, low)
        eer = result.figures.eer.rate
        axes.plot(
            x,
            y,
            color=colour,
            linestyle=dash,
            linewidth=1.8,
            drawstyle="steps-post",
            label=f"{_short(result.label)}   EER {percent(eer)} %",
            zorder=3,
        )
        if eer <= high:
            axes.plot(
                *ndtri([max(eer, low)] * 2),
                "o",
                color=colour,
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.8,
                clip_on=False,
                zorder=4,
            )
    _frame_det(axes, low, high)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", framealpha=0.92, edgecolor="none", fontsize=8.5)
    else:
        note = "needs pairs of one person\nand pairs of two"
        axes.text(
            0.5, 0.5, note, transform=axes.transAxes, ha="center", va="center", color=IMPOSTOR
        )


def _frame_det(axes: Axes, low: float, high: float) -> None:
    """Scale both axes by normal deviates, on which a curve of normal scores is a straight line."""
    ends = ndtri([low, high])
    axes.plot(ends, ends, color=IMPOSTOR, linewidth=0.8, linestyle=":", zorder=1)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    names = [f"{100 * tick:g}" for tick in ticks]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ndtri(ticks).tolist()))
        axis.set_minor_locator(NullLocator())
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)
    axes.set(
        xlim=ends,
        ylim=ends,
        aspect="equal",
        title="Detection error trade-off",
        xlabel="false match rate (%)",
        ylabel="false non-match rate (%)",
    )
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _det_range(curves: Sequence[Roc], results: Sequence[SystemResult]) -> tuple[float, float]:
    """Reach down to the smallest error rate the pairs can show, and up past the worst EER."""
    finest = max((max(c.genuine, c.impostor) for c in curves if c.is_defined), default=1)
    worst = max((r.figures.eer.rate for r in results if r.figures.eer.rate > 0), default=0.0)
    return float(np.clip(0.5 / finest, 1e-6, 0.01)), 0.5 if worst < 0.3 else 0.97


def _det_points(curve: Roc, low: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the curve in normal deviates, down to the smallest rate shown.

    The stretches with no error of one kind would run along a border, and points too close to be
    told apart would only make the file larger; both are left out.
    """
    first = int(np.searchsorted(curve.fmr, low, side="right")) - 1
    last = int(np.searchsorted(-curve.fnmr, -low))
    x, y = ndtri(np.clip([curve.fmr, curve.fnmr], low, 0.9999))[:, first : max(first, last) + 1]
    cells = np.round(np.stack([x, y]) * 250)
    moved = np.any(np.diff(cells, axis=1) != 0, axis=0)
    kept = np.append(True, moved) | np.append(moved, True)
    return x[kept], y[kept]


def _draw_histograms(
    panels: NDArray[np.object_], same: NDArray[np.bool_], results: Sequence[SystemResult]
) -> None:
    drawn = [result.counted & np.isfinite(result.scores) for result in results]
    edges = _bin_edges(
        np.concatenate([r.scores[shown] for r, shown in zip(results, drawn, strict=True)])
    )
    for place, (axes, result) in enumerate(zip(panels, results, strict=True)):
        colour = COLOURS[place % len(COLOURS)]
        for chosen, paint in ((~same, IMPOSTOR), (same, colour)):
            scores = result.scores[chosen & drawn[place]]
            if scores.size:
                heights = np.histogram(scores, edges)[0] / scores.size
                axes.stairs(heights, edges, fill=True, color=paint, alpha=0.78)
        _mark_threshold(axes, result.figures.eer.threshold, edges)
        axes.set(yticks=[], xlim=(edges[0], edges[-1]), ylim=(0, 1.15 * axes.dataLim.ymax))
        axes.spines["left"].set_visible(False)
        if len(results) > 1:
            axes.set_title(_short(result.label), fontsize=9, fontweight="normal", color=colour)
    heading = panels[0].figure
    heading.suptitle("Scores", x=0.02, ha="left", fontsize=10.5, fontweight="bold")
    keys = [Patch(color=IMPOSTOR, alpha=0.78), Patch(color=COLOURS[0], alpha=0.78)]
    names = ["two people", "one person" if len(results) == 1 else "one person (in colour)"]
    heading.legend(keys, names, loc="upper right", ncols=2, frameon=False, fontsize=8.5)
    panels[-1].set_xlabel("cosine similarity")


def _bin_edges(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut the range of the scores at round values; wider bins for a handful of scores."""
    width = 0.02 if scores.size >= 500 else 0.05
    first, last = np.floor(scores.min() / width), np.ceil(scores.max() / width)
    return np.arange(first, max(last, first + 1) + 1) * width


def _mark_threshold(axes: Axes, threshold: float, edges: NDArray[np.float64]) -> None:
    if not np.isfinite(threshold):
        return
    is_far_right = threshold > edges[0] + 0.75 * (edges[-1] - edges[0])
    axes.axvline(threshold, color=INK, linewidth=1.0, linestyle="--")
    axes.annotate(
        f"EER at {threshold:.3f}",
        (threshold, 1),
        (-4 if is_far_right else 4, -1),
        ha="right" if is_far_right else "left",
        va="top",
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=8,
        color=INK,
    )


def _short(label: str) -> str:
    """Fit a label into the legend."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
