"""Where the scores of both kinds of pair lie, one panel a system."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mfrkit.stages.plot_colours import COLOURS, GREY, INK
from mfrkit.stages.plot_style import Floats, short
from mfrkit.stages.results import SystemResult

_BINS = 80  # of scores that are no cosines


def draw_histograms(
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
    """Cut the range of the scores at round values; wider bins for a handful of scores.

    Example:
        >>> bin_edges(np.array([0.01, 0.12])).round(2).tolist()
        [0.0, 0.05, 0.1, 0.15]
    """
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
