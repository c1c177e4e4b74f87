"""mfrkit eval: score a pair list with embeddings, or everybody against everybody.

`--all-pairs` takes the place of a pair list.
"""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.errors import InputError
from mfrkit.options import Force, Json, Seed, Usually

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


_CROPS, _EMBEDDINGS = "crops", Usually("embeddings.h5", "mfrkit embed")

Templates = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Pool: `image template media`, or CSV.")
]
ScoresIn = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="Evaluate scores; without PAIRS, theirs.")
]
Scores = Annotated[Path | None, typer.Option(metavar="TSV", help="Write every pair's score.")]
Table = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables: .md or .tex.")]
Plots = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Draw DET, ROC and histograms: a .png, .svg or .pdf file."),
]
Report = Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page.")]
Crops = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SRC",
        help="Crops of the page's worst pairs; one for all EMB, or one each.",
        show_default=_CROPS,
    ),
]
ProbeCrops = Annotated[
    list[str] | None,
    typer.Option(metavar="SRC", help="Crops of second images where --probes are given."),
]
Thumbnails = Annotated[
    bool, typer.Option("--thumbnails/--no-thumbnails", help="Show the worst pairs as pictures.")
]
Pictures = Annotated[
    list[Path] | None, typer.Option(metavar="PNG", help="Show this on the page too.")
]


AllPairs = Annotated[
    bool,
    typer.Option(
        "--all-pairs",
        help="No pair list: compare all faces of PAIRS, an HDF5 file, or those of two files.",
    ),
]
_UNDERSTOOD = frozenset({"pairs", "embeddings", "probes", "missing", "far", "json", "all_pairs"})


def evaluate_all_pairs(ctx: typer.Context) -> None:
    """Run the mode with what the user gave to `mfrkit eval`."""
    from mfrkit.evaluation.all_pairs import FAR, AllPairsOptions, all_pairs
    from mfrkit.evaluation.options import parse_rates

    given = ctx.params
    chosen = {name for name in given if _is_given(ctx, name)}
    if chosen - _UNDERSTOOD:
        name = min(chosen - _UNDERSTOOD).replace("_", "-")
        raise InputError(f"--{name} cannot be used with --all-pairs")
    first = given["pairs"] or _EMBEDDINGS.find()
    files = (first, *(given["embeddings"] or ()), *(given["probes"] or ()))
    options = AllPairsOptions(
        files=tuple(Path(path) for path in files),
        missing=given["missing"],
        far=parse_rates(given["far"]) if "far" in chosen else FAR,
        json=given["json"],
    )
    all_pairs(options, ctx.obj)


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def evaluate(
    ctx: typer.Context,
    pairs: Pairs = None,
    embeddings: Embeddings = None,
    probes: Probes = None,
    missing: Missing = "error",
    far: Far = "1e-2,1e-3,1e-4",
    names: Names = "",
    ci: Ci = None,
    seed: Seed = 0,
    fix_threshold: FixThreshold = "",
    fmr: Fmr = "",
    threshold_out: ThresholdOut = None,
    threshold: Threshold = None,
    by: By = "",
    covariates: Covariates = None,
    all_pairs: AllPairs = False,
    json: Json = False,
    force: Force = False,
    templates: Templates = None,
    scores_in: ScoresIn = None,
    scores: Scores = None,
    table: Table = None,
    plot: Plots = None,
    report: Report = None,
    crops: Crops = None,
    probe_crops: ProbeCrops = None,
    thumbnails: Thumbnails = True,
    picture: Pictures = None,
) -> None:
    """Measure how well embeddings tell the people of a pair list apart.

    One line per system: accuracy over the folds, EER, FMR100, FMR1000, TAR at each FAR, AUC,
    mean scores and FDR. A table on a terminal, tab-separated in a pipe. An image without
    embedding is an error; --missing reject counts its pairs as failed comparisons and
    --missing drop leaves them out. --ci adds intervals, --fmr error rates at fixed thresholds.

    Example: mfrkit eval demo/pairs.csv demo/clean.h5 --probes demo/masked.h5 --fix-threshold
    unmasked --fmr 0.2 --ci 95
    """
    if all_pairs:
        return evaluate_all_pairs(ctx)
    from mfrkit.evaluation.evaluate import evaluate as run
    from mfrkit.evaluation.options import EvalOptions, parse_rates

    if pairs and not (embeddings or scores_in):
        embeddings = [Path(_EMBEDDINGS.find())]
    if report is None and (crops or probe_crops or picture):
        raise InputError("--crops, --probe-crops and --picture are for the page of --report FILE")
    # crops/ serves the report if it is there and no other is named
    usual = [_CROPS] if report and Path(_CROPS).is_dir() else []
    options = EvalOptions(
        pairs=pairs,
        embeddings=tuple(embeddings or ()),
        probes=tuple(probes or ()),
        missing=missing,
        far=parse_rates(far),
        names=tuple(name.strip() for name in names.split(",")) if names else (),
        ci=ci,
        seed=seed,
        fix_threshold=fix_threshold,
        fmr=parse_rates(fmr, "--fmr"),
        threshold_out=threshold_out,
        threshold=threshold,
        by=tuple(trait.strip() for trait in by.split(",") if trait.strip()),
        covariates=covariates,
        json=json,
        force=force,
        templates=templates,
        scores_in=tuple(scores_in or ()),
        scores=scores,
        table=table,
        plots=tuple(plot or ()),
        report=report,
        crops=tuple(crops or usual) if thumbnails else (),
        probe_crops=tuple(probe_crops or ()) if thumbnails else (),
        pictures=tuple(picture or ()),
    )
    run(options, ctx.obj)
