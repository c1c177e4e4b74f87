"""mfrkit benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli import evaluate as given
from mfrkit.cli.options import takes
from mfrkit.config import RECOGNISER, TEACHER, RunOptions
from mfrkit.errors import InputError
from mfrkit.options import Json, Seed
from mfrkit.stages.options import (
    Color,
    Coverage,
    Detector,
    Feeding,
    Jitter,
    Landmarks,
    Texture,
    Types,
)

Layout = Annotated[
    str | None,
    typer.Option(help="lfw, calfw, cplfw, agedb-30, cfp-fp, mfr2, mlfw or rmfvd: finds both."),
]
MaskOn = Annotated[
    str | None,
    typer.Option(
        "--mask-on",
        help="Draw masks on photos, found and aligned under them, or on aligned crops.",
        metavar="photos|crops",
        show_default="photos; crops with --detector none",
    ),
]

NoMasks = Annotated[
    bool, typer.Option("--no-masks", help="Draw none: people wear theirs in the photos.")
]
Tables = Annotated[
    list[Path] | None,
    typer.Option(
        "--table",
        metavar="FILE",
        help="Tables for a paper: a .tex or .md file; without PAIRS, of what --output holds.",
    ),
]
Figures = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="What they show: eer, fmr100, fmr1000, tar@1e-3, accuracy, auc, fdr.",
    ),
]
Fmr = Annotated[str, typer.Option(help="FMRs at which thresholds are set, on unmasked pairs.")]


@takes(Feeding, "fed")
@takes(RunOptions, "run", ("workers", "batch_size", "device", "force", "dry_run", "cluster"))
def benchmark(
    ctx: typer.Context,
    pairs: Annotated[
        Path | None,
        typer.Argument(metavar="PAIRS", help="Pair list; with --layout the data set's folder"),
    ] = None,
    images: Annotated[
        str | None, typer.Argument(metavar="IMAGES", help="Photos or crops: folder or manifest.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "benchmark"
    ),
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Bundled name or model file; may be repeated."),
    ] = None,
    layout: Layout = None,
    detector: Detector = "yunet",
    landmarks: Landmarks = None,
    mask_on: MaskOn = None,
    no_masks: NoMasks = False,
    fmr: Fmr = "1e-2,1e-3",
    ci: given.Ci = None,
    missing: given.Missing = "reject",
    table: Tables = None,
    figures: Figures = "eer,fmr100,fmr1000",
    seed: Seed = 0,
    json: Json = False,
    types: Types = None,
    color: Color = None,
    texture: Texture = None,
    coverage: Coverage = None,
    jitter: Jitter = 1.0,
    *,
    fed: Feeding,
    run: RunOptions,
) -> None:
    """Compare models on a pair list: unmasked, probes masked, both masked, by kind of mask.

    Masks and aligns the photos of the list once; run again, it goes on where it was interrupted,
    and another --model costs its embeddings only. Thresholds are set on unmasked pairs and kept.
    A photo whose face is lost under its mask counts as a failure.

    Example: mfrkit benchmark demo/pairs.csv demo/photos --model arcface --model mfr
    && mfrkit benchmark --output benchmark --table paper.tex --figures eer,tar@1e-3
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.evaluation.benchmark import BenchmarkOptions, tabulate
    from mfrkit.evaluation.benchmark import benchmark as compare
    from mfrkit.evaluation.benchmark_sets import BenchmarkSets
    from mfrkit.evaluation.layouts import place
    from mfrkit.evaluation.options import parse_rates
    from mfrkit.evaluation.paper_tables import PaperTables, parse_figures

    tables = PaperTables(tuple(table or ()), parse_figures(figures), ci, run.force)
    if pairs is None:
        if not table:
            raise InputError("no pair list given; name one, or --table for a finished benchmark")
        tabulate(output, tables, ctx.obj)
        return
    found = place(layout, pairs, images, detector, masks=not no_masks)
    sets = BenchmarkSets(
        **found._asdict(),
        folder=output,
        landmarks=landmarks,
        mask_on=mask_on,
        types=types,
        color=color,
        texture=texture,
        coverage=coverage,
        jitter=jitter,
        seed=seed,
        run=run,
    )
    rates = parse_rates(fmr, "--fmr")
    models = tuple(model or [TEACHER, RECOGNISER])
    options = BenchmarkOptions(sets, models, rates, ci, missing, json, tables, fed)
    compare(options, ctx.obj, spread)
