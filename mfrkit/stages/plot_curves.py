"""Error rates as curves: detection error trade-off (DET) and receiver operating characteristic."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray
from scipy.special import ndtri

from mfrkit.metrics.roc import Roc, roc
from mfrkit.stages.plot_colours import GREY
from mfrkit.stages.plot_style import (
    Floats,
    add_grid,
    add_legend,
    line_style,
    plain_decades,
    short,
    thinned,
)
from mfrkit.stages.results import SystemResult, decimal, percent

_TICKS = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_ONE_KIND = "needs pairs of one person\nand pairs of two"


def draw_det(axes: Axes, same: NDArray[np.bool_], results: Sequence[SystemResult]) -> None:
    """Draw FNMR over FMR on normal deviates, on which normal scores give straight lines."""
    curves = _curves(same, results)
    low, high = _det_range(curves, results)
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


def _det_range(curves: Sequence[Roc], results: Sequence[SystemResult]) -> tuple[float, float]:
    """Reach down to the smallest error rate the pairs can show, and up past the worst EER."""
    worst = max((r.figures.eer.rate for r in results if r.figures.eer.rate > 0), default=0.0)
    return _lowest_rate(curves), 0.5 if worst < 0.3 else 0.97


def det_points(curve: Roc, low: float) -> tuple[Floats, Floats]:
    """Return the curve in normal deviates, down to the smallest rate shown.

    The stretches with no error of one kind would run along a border, and points too close to be
    told apart would only make the file larger; both are left out.
    """
    first = int(np.searchsorted(curve.fmr, low, side="right")) - 1
    last = int(np.searchsorted(-curve.fnmr, -low))
    x, y = ndtri(np.clip([curve.fmr, curve.fnmr], low, 0.9999))[:, first : max(first, last) + 1]
    return thinned(x, y, (0.004, 0.004))


def draw_roc(axes: Axes, same: NDArray[np.bool_], results: Sequence[SystemResult]) -> None:
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
