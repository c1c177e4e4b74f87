"""mfrkit benchmark."""

import typer

from mfrkit.cli.options import takes
from mfrkit.evaluation.benchmark_options import BenchmarkOptions


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
