"""mfrkit models calibrate."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def calibrate(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="Recogniser: bundled name or model file.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
    ],
    unmasked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its embeddings of bare faces.")
    ] = None,
    masked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its embeddings of masked faces.")
    ] = None,
    fmr: Annotated[
        str, typer.Option("--fmr", help="False match rates, as far as the counts allow.")
    ] = "1e-2,1e-3,1e-4",
    force: Force = False,
) -> None:
    """Set a recogniser's thresholds for bare and masked faces, and write them into its card.

    Everybody is compared with everybody. Take people it was not trained on.

    Example: mfrkit models calibrate mfr --unmasked demo/clean.h5 --masked demo/masked.h5
    --fmr 0.5 -o calibrated.safetensors
    """
    from mfrkit.stages import calibrate as stage
    from mfrkit.stages.eval_options import parse_rates

    rates = parse_rates(fmr, "--fmr")
    stage.calibrate(stage.CalibrateOptions(model, output, unmasked, masked, rates, force), ctx.obj)
