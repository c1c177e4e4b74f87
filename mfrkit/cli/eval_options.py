"""The options of `mfrkit eval`."""

from pathlib import Path
from typing import Annotated

import typer

Pairs = Annotated[
    Path | None,
    typer.Argument(metavar="PAIRS", help="Pair list: LFW, MFR2, `a b 0|1`, CALFW or CSV."),
]
Embeddings = Annotated[
    list[Path] | None,
    typer.Argument(metavar="EMB", help="One HDF5 file per system.", show_default="embeddings.h5"),
]
Probes = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="Look up second images in this file; one for all EMB, or one each."
    ),
]
Missing = Annotated[
    str, typer.Option(metavar="POLICY", help="Images without embedding: error, reject or drop.")
]
Far = Annotated[str, typer.Option(metavar="FAR,...", help="Report the TAR at these FARs.")]
Names = Annotated[str, typer.Option(metavar="NAME,...", help="What to call each system.")]
Ci = Annotated[
    float | None,
    typer.Option(metavar="PERCENT", help="Intervals by resampling people; tests between systems."),
]
FixThreshold = Annotated[
    str,
    typer.Option(metavar="WHERE", help="unmasked: set thresholds on EMB alone, before --probes."),
]
Fmr = Annotated[
    str,
    typer.Option(
        metavar="FMR,...", help="Set thresholds at these FMRs.", show_default="1e-3 if needed"
    ),
]
ThresholdOut = Annotated[
    Path | None, typer.Option(metavar="JSON", help="Write the thresholds, for use elsewhere.")
]
Threshold = Annotated[Path | None, typer.Option(metavar="JSON", help="Use thresholds set earlier.")]
By = Annotated[
    str,
    typer.Option(metavar="TRAIT,...", help="Error rates by masked, mask, or column of a table."),
]
Covariates = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="CSV with a `key` column, or a manifest, for --by."),
]
