"""Pictures of results: error curves and score histograms of an evaluation, and the CMC.

matplotlib is imported with this module, so import it only when a picture is wanted.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray
from scipy.special import ndtri

from mfrkit.errors import ShapeError
from mfrkit.evaluation.results import SystemResult, decimal, percent
from mfrkit.metrics.rates import Roc, roc
from mfrkit.pages.html_page import COLOURS, GREY, INK
from mfrkit.pages.plot_style import (
    MANY_LINES,
    Floats,
    add_grid,
    add_legend,
    line_style,
    plain_decades,
    render,
    short,
    thinned,
)

_TICKS = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_ONE_KIND = "needs pairs of one person\nand pairs of two"


def _draw_det(axes: Axes, same: NDArray[np.bool_], results: Sequence[SystemResult]) -> None:
    """Draw FNMR over FMR on normal deviates, on which normal scores give straight lines."""
    curves = _curves(same, results)
    # Down to the smallest error rate that the pairs can show, and up past the worst EER.
    worst = max((r.figures.eer.rate for r in results if r.figures.eer.rate > 0), default=0.0)
    low, high = _lowest_rate(curves), 0.5 if worst < 0.3 else 0.97
    for place, (curve, result) in enumerate(zip(curves, results, strict=True)):
        if not curve.is_defined:
            continue
        style = line_style(place)
        eer = result.figures.eer.rate
        label = f"{short(result.label)}   EER {percent(eer)} %"
        axes.plot(*det_points(curve, low), **style, drawstyle="steps-post", label=label, zorder=3)
        if eer <= high:
            axes.plot(
                *ndtri([max(eer, low)] * 2),
                "o",
                color=style["color"],
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.8,
                clip_on=False,
                zorder=4,
            )
    _frame_det(axes, low, high)
    add_legend(axes, "upper right", _ONE_KIND)


def _curves(same: NDArray[np.bool_], results: Sequence[SystemResult]) -> list[Roc]:
    return [roc(result.scores[result.counted], same[result.counted]) for result in results]


def _frame_det(axes: Axes, low: float, high: float) -> None:
    ends = ndtri([low, high])
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
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
    add_grid(axes)


def _lowest_rate(curves: Sequence[Roc]) -> float:
    """Return half the smallest error rate that the pairs can show."""
    finest = max((max(c.genuine, c.impostor) for c in curves if c.is_defined), default=1)
    return float(np.clip(0.5 / finest, 1e-6, 0.01))


def det_points(curve: Roc, low: float) -> tuple[Floats, Floats]:
    """Return the curve in normal deviates, down to the smallest rate shown.

    The stretches with no error of one kind would run along a border, and points too close to be
    told apart would only make the file larger; both are left out.
    """
    first = int(np.searchsorted(curve.fmr, low, side="right")) - 1
    last = int(np.searchsorted(-curve.fnmr, -low))
    x, y = ndtri(np.clip([curve.fmr, curve.fnmr], low, 0.9999))[:, first : max(first, last) + 1]
    return thinned(x, y, (0.004, 0.004))


def _draw_roc(axes: Axes, same: NDArray[np.bool_], results: Sequence[SystemResult]) -> None:
    """Draw TAR over FAR, the FAR on a logarithmic scale."""
    curves = _curves(same, results)
    low = _lowest_rate(curves)
    lowest = 1.0
    for place, (curve, result) in enumerate(zip(curves, results, strict=True)):
        if not curve.is_defined:
            continue
        first = int(np.searchsorted(curve.fmr, low, side="right")) - 1
        logarithms, tar = np.log10(curve.fmr[first:].clip(low)), curve.tar[first:]
        x, y = thinned(logarithms, tar, (0.004, 0.001))
        label = f"{short(result.label)}   AUC {decimal(result.figures.auc, 4)}"
        axes.plot(10**x, y, **line_style(place), drawstyle="steps-post", label=label, zorder=3)
        lowest = min(lowest, float(tar[0]))
    floor = np.floor(10 * lowest) / 10 if lowest > 0.5 else 0.0
    axes.set(
        xscale="log",
        xlim=(low, 1),
        ylim=(min(floor, 0.9), 1.002),
        title="Receiver operating characteristic",
        xlabel="false accept rate (%)",
        ylabel="true accept rate (%)",
    )
    plain_decades(axes.xaxis, unit=100)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    add_grid(axes)
    add_legend(axes, "lower right", _ONE_KIND)


_BINS = 80  # of scores that are no cosines


def _draw_histograms(
    figure: SubFigure, same: NDArray[np.bool_], results: Sequence[SystemResult]
) -> None:
    """Draw the share of pairs per bin; failed comparisons have no place on the axis.

    Cosines share one axis, so that systems can be compared; other scores have one each.
    """
    shown = [result.counted & np.isfinite(result.scores) for result in results]
    scores = [result.scores[chosen] for result, chosen in zip(results, shown, strict=True)]
    together = np.concatenate(scores)
    is_cosine = bool((np.abs(together) <= 1).all())
    panels = figure.subplots(len(results), 1, sharex=is_cosine, squeeze=False)[:, 0]
    for place, (axes, result) in enumerate(zip(panels, results, strict=True)):
        edges = bin_edges(together if is_cosine else scores[place])
        colour = COLOURS[place % len(COLOURS)]
        for kind, paint in ((False, GREY), (True, colour)):
            part = result.scores[shown[place] & (same == kind)]
            if part.size:
                heights = np.histogram(part, edges)[0] / part.size
                axes.stairs(heights, edges, fill=True, color=paint, alpha=0.78)
        _mark_threshold(axes, result.figures.eer.threshold, edges)
        axes.set(yticks=[], xlim=(edges[0], edges[-1]), ylim=(0, 1.15 * axes.dataLim.ymax))
        axes.spines["left"].set_visible(False)
        if len(results) > 1:
            axes.set_title(short(result.label), fontsize=9, fontweight="normal")
    figure.suptitle("Scores", x=0.02, ha="left", fontsize=10.5, fontweight="bold")
    keys = [Patch(color=GREY, alpha=0.78), Patch(color=COLOURS[0], alpha=0.78)]
    names = ["two people", "one person" if len(results) == 1 else "one person (in colour)"]
    figure.legend(keys, names, loc="upper right", ncols=2, frameon=False)
    panels[-1].set_xlabel("similarity")


def bin_edges(scores: Floats) -> Floats:
    """Cut the range of the scores at round values; wider bins for a handful of scores."""
    if not scores.size:
        return np.array([0.0, 1.0])
    width = 0.02 if scores.size >= 500 else 0.05
    if np.abs(scores).max() > 1:
        width = max(np.ptp(scores) / _BINS, np.abs(scores).max() * 1e-9)
    first, last = np.floor(scores.min() / width), np.ceil(scores.max() / width)
    return np.arange(first, max(last, first + 1) + 1) * width


def _mark_threshold(axes: Axes, threshold: float, edges: Floats) -> None:
    if not np.isfinite(threshold):
        return
    is_far_right = threshold > edges[0] + 0.75 * (edges[-1] - edges[0])
    axes.axvline(threshold, color=INK, linewidth=1.0, linestyle="--")
    axes.annotate(
        f"EER at {threshold:.4g}",
        (threshold, 1),
        (-4 if is_far_right else 4, -1),
        ha="right" if is_far_right else "left",
        va="top",
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=8,
    )


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
    """Draw all systems in one picture; the same input gives the same bytes.

    Args:
        same: (P,) bool, whether each pair shows one person.
        results: the systems, in the order of the legend.
        kind: `png`, `svg` or `pdf`.
        panels: what to draw, from left to right.
    """

    def fill(figure: Figure) -> None:
        parts = figure.subfigures(1, len(panels), squeeze=False)[0]
        for panel, part in zip(panels, parts, strict=True):
            if panel == "scores":
                _draw_histograms(part, same, results)
            else:
                {"det": _draw_det, "roc": _draw_roc}[panel](part.subplots(), same, results)

    count = len(results)
    height = _PANEL[1] + (_LEGEND * count if count > MANY_LINES else 0)
    if "scores" in panels:
        height = max(1.2 + _ROW * count, _PANEL[1] if len(panels) == 1 else height)
    return render(fill, (_PANEL[0] * len(panels), height), kind)


def draw_cmc(rates: Mapping[str, NDArray[np.float64]], kind: str) -> bytes:
    """Draw cumulative match characteristics as `png`, `svg` or `pdf`.

    Args:
        rates: label of each system -> (R,) float64, the share in [0, 1] of mated searches whose
            mate is among the first 1, 2, ..., R candidates.
        kind: of picture.

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
