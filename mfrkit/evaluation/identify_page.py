"""An identification as pictures and as one HTML page."""

from html import escape

import numpy as np

from mfrkit.evaluation.identify_results import DEFINITIONS, Identification, figures_table
from mfrkit.evaluation.options import IdentifyOptions
from mfrkit.evaluation.plots import draw_cmc
from mfrkit.pages.html_page import chart, definition_list, html_page
from mfrkit.pages.table import to_html

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
    table = figures_table(result, options, flag="*")
    drawing = cmc_picture(result, options, "svg").decode() if result.mated else None
    files = [
        ("gallery", f"<code>{escape(str(options.gallery))}</code>, {result.people} people, "
         f"{result.unusable_gallery} inputs without usable embedding"),
        ("probes", f"<code>{escape(str(options.probes))}</code>, {result.mated} mated and "
         f"{result.non_mated} non-mated searches, {result.failed_probes} without usable embedding, "
         f"{result.own_photos} searched without their own photo"),
    ]  # fmt: skip
    body = [
        "<h1>Face identification</h1>",
        f'<p class="lead">{escape(table.title)}</p>',
        f"<h2>Results</h2>\n{to_html(table)}",
        *(["<h2>Ranks</h2>", f'<div class="charts">{chart(drawing, _CHART)}</div>'] if drawing
          else []),
        "<h2>Files</h2>",
        definition_list(files),
        "<h2>Definitions</h2>",
        definition_list([(name, escape(text)) for name, text in DEFINITIONS.items()]),
    ]  # fmt: skip
    return html_page(f"Face identification: {options.probes.name}", body)
