"""mfrkit eval."""

import typer

from mfrkit.cli.options import takes
from mfrkit.evaluation.options import EvalOptions


@takes(EvalOptions)
def evaluate(ctx: typer.Context, options: EvalOptions) -> None:
    """Measure how well embeddings tell the people of a pair list apart.

    One line per system: accuracy over the folds, EER, FMR100, FMR1000, TAR at each FAR, AUC,
    mean scores and FDR. A table on a terminal, tab-separated in a pipe. An image without
    embedding is an error; --missing reject counts its pairs as failed comparisons and
    --missing drop leaves them out. --ci adds intervals, --fmr error rates at fixed thresholds.

    Example: mfrkit eval demo/pairs.csv demo/clean.h5 --probes demo/masked.h5 --fix-threshold
    unmasked --fmr 0.2 --ci 95
    """
    if options.all_pairs:
        from mfrkit.evaluation.all_pairs import all_pairs

        all_pairs(options, ctx.obj)
    else:
        from mfrkit.evaluation.evaluate import evaluate as run

        run(options, ctx.obj)
