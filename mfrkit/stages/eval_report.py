"""Gather what the HTML page of an evaluation shows."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mfrkit.io.pairs import PairList
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.plots import PANELS, Panel, draw
from mfrkit.stages.report import html_report
from mfrkit.stages.report_tables import counts_table, results_table
from mfrkit.stages.results import SystemResult
from mfrkit.stages.table import Table
from mfrkit.stages.worst_pairs import CropFolders, worst_pairs

_CHARTS: Mapping[Panel, str] = MappingProxyType(
    {
        "det": "Detection error trade-off: false non-match rate over false match rate",
        "roc": "Receiver operating characteristic: true accept rate over false accept rate",
        "scores": "Histograms of the scores of pairs of one person and of two people",
    }
)


def report_page(
    pairs: PairList,
    results: Sequence[SystemResult],
    further: Sequence[Table],
    options: EvalOptions,
) -> str:
    """Return the whole page.

    Args:
        pairs: the list.
        results: the systems.
        further: tables that go below the figures: intervals, thresholds, groups.
        options: what else the page shows.

    Raises:
        InputError: a picture or a folder of crops that cannot be read.
    """
    charts = {
        _CHARTS[panel]: draw(pairs.same, results, "svg", [panel]).decode() for panel in PANELS
    }
    return html_report(
        pairs,
        results,
        [results_table(results, options.far), *further, counts_table(results)],
        charts,
        worst_pairs(pairs, results, _folders(results, options)),
        options.pictures,
    )


def _folders(results: Sequence[SystemResult], options: EvalOptions) -> list[CropFolders]:
    """Say where each system's crops are; one folder serves all, others are given for each EMB."""
    folders = []
    for place, result in enumerate(results):
        first, second = (
            given[place] if place < len(given) else (given[0] if given else None)
            for given in (options.crops, options.probe_crops)
        )
        # With probes, the second picture of a pair is not the one of that name among the first.
        folders.append(CropFolders(first, first if result.probes is None else second))
    return folders
