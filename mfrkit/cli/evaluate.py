"""mfrkit eval: score a pair list with embeddings."""

from pathlib import Path

import typer

from mfrkit.cli import eval_options as given
from mfrkit.cli.all_pairs import AllPairs, evaluate_all_pairs
from mfrkit.cli.eval_file_options import EvalFiles, takes_eval_files
from mfrkit.cli.options import Force, Json, Seed, default_input


@takes_eval_files
def evaluate(
    ctx: typer.Context,
    pairs: given.Pairs = None,
    embeddings: given.Embeddings = None,
    probes: given.Probes = None,
    missing: given.Missing = "error",
    far: given.Far = "1e-2,1e-3,1e-4",
    names: given.Names = "",
    ci: given.Ci = None,
    seed: Seed = 0,
    fix_threshold: given.FixThreshold = "",
    fmr: given.Fmr = "",
    threshold_out: given.ThresholdOut = None,
    threshold: given.Threshold = None,
    by: given.By = "",
    covariates: given.Covariates = None,
    all_pairs: AllPairs = False,
    json: Json = False,
    force: Force = False,
    *,
    files: EvalFiles,
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
        **files,
    )
    run(options, ctx.obj)
