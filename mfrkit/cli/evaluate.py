"""mfrkit eval: score a pair list with embeddings."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.eval_file_options import EvalFiles, takes_eval_files
from mfrkit.cli.options import Force, Json, default_input


@takes_eval_files
def evaluate(
    ctx: typer.Context,
    pairs: Annotated[
        Path | None,
        typer.Argument(metavar="PAIRS", help="Pair list: LFW, MFR2, `a b 0|1`, CALFW or CSV."),
    ] = None,
    embeddings: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="EMB", help="One HDF5 file per system.", show_default="embeddings.h5"
        ),
    ] = None,
    probes: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Look up second images in this file; one for all EMB, or one each."
        ),
    ] = None,
    missing: Annotated[
        str, typer.Option(metavar="POLICY", help="Images without embedding: error, reject or drop.")
    ] = "error",
    far: Annotated[
        str, typer.Option(metavar="FAR,...", help="Report the TAR at these FARs.")
    ] = "1e-2,1e-3,1e-4",
    names: Annotated[str, typer.Option(metavar="NAME,...", help="What to call each system.")] = "",
    json: Json = False,
    force: Force = False,
    *,
    files: EvalFiles,
) -> None:
    """Measure how well embeddings tell the people of a pair list apart.

    One line per system: accuracy over the folds, EER, FMR100, FMR1000, TAR at each FAR, AUC,
    mean scores and FDR. A table on a terminal, tab-separated in a pipe. An image without
    embedding is an error; --missing reject counts its pairs as failed comparisons and
    --missing drop leaves them out.

    Example: mfrkit eval pairs.txt clean.h5 --probes masked.h5 --plot det.png --scores scores.tsv
    """
    from mfrkit.stages.eval_options import EvalOptions, parse_rates
    from mfrkit.stages.evaluate import evaluate as run

    needed = pairs and not embeddings and not files["scores_in"]
    default = [default_input(None, "embeddings.h5", "mfrkit embed")] if needed else []
    options = EvalOptions(
        pairs=pairs,
        embeddings=tuple(Path(path) for path in embeddings or default),
        probes=tuple(probes or ()),
        missing=missing,
        far=parse_rates(far),
        names=tuple(name.strip() for name in names.split(",")) if names else (),
        json=json,
        force=force,
        **files,
    )
    run(options, ctx.obj)
