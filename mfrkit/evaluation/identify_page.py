"""An identification as pictures and as one HTML page."""

import numpy as np

from mfrkit.evaluation.identify_results import DEFINITIONS, Identification, figures_table
from mfrkit.evaluation.options import IdentifyOptions
from mfrkit.evaluation.plots import draw_cmc
from mfrkit.pages.html_page import html_page

_CHART = "Cumulative match characteristic: share of searches whose person is among the first k"


def cmc_picture(result: Identification, options: IdentifyOptions, kind: str) -> bytes:
    """Draw the CMC.

    Args:
        result: the figures.
        options: name the files.
        kind: `png`, `svg` or `pdf`.
    """
    return draw_cmc({options.probes.stem: np.array(result.cmc)}, kind)


def identification_page(result: Identification, options: IdentifyOptions) -> str:
    """Return a complete HTML document: figures, CMC, files and definitions; names are escaped."""
    drawing = cmc_picture(result, options, "svg").decode() if result.mated else None
    return html_page(
        "identification.html",
        options=options,
        result=result,
        table=figures_table(result, options, flag="*"),
        charts={_CHART: drawing} if drawing else {},
        definitions=DEFINITIONS,
    )
