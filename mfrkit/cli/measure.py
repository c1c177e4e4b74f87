"""mfrkit eval, identify and benchmark: how well a system does."""

import typer

from mfrkit.cli.options import takes
from mfrkit.evaluation.benchmark_options import BenchmarkOptions
from mfrkit.evaluation.options import EvalOptions, IdentifyOptions


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


@takes(IdentifyOptions)
def identify(ctx: typer.Context, options: IdentifyOptions) -> None:
    """Search every probe among the people of a gallery.

    Closed set: how many are found at rank 1, 5, 10. Open set: FNIR and DIR while at most a share
    FPIR of the strangers, the probes of people the gallery does not have, is taken for somebody.
    Who is on a photo is read from the file, or is the folder the photo lies in. A probe that is
    in the gallery itself is searched without its own photo. (mfrkit search takes photos that
    nobody has named yet.)

    Example: mfrkit identify demo/clean.h5 demo/masked.h5 --top 2 -o hits.jsonl
    """
    from mfrkit.evaluation.identify import identify as run

    run(options, ctx.obj)


@takes(BenchmarkOptions)
def benchmark(ctx: typer.Context, options: BenchmarkOptions) -> None:
    """Compare models on a pair list: unmasked, probes masked, both masked, by kind of mask.

    Masks and aligns the photos of the list once; run again, it goes on where it was interrupted,
    and another --model costs its embeddings only. Thresholds are set on unmasked pairs and kept.
    A photo whose face is lost under its mask counts as a failure.

    Example: mfrkit benchmark demo/pairs.csv demo/photos --model arcface --model mfr
    && mfrkit benchmark --output benchmark --table paper.tex --figures eer,tar@1e-3
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.evaluation.benchmark import benchmark as run

    run(options, ctx.obj, spread)
