"""mfrkit identify: search faces among known people."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.options import Force, Json

KnownPeople = Annotated[
    Path,
    typer.Argument(metavar="GALLERY", help="HDF5 file with photos of known people, or a model."),
]
Probes = Annotated[
    Path, typer.Argument(metavar="PROBES", help="HDF5 file with the photos to search.")
]


def identify(
    ctx: typer.Context,
    gallery: KnownPeople,
    probes: Probes,
    pool: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="A person's template: mean, norm (mean weighted by quality) or none.",
        ),
    ] = "mean",
    classifier: Annotated[
        bool,
        typer.Option("--classifier", help="GALLERY is a model; its classifier names the probes."),
    ] = False,
    ranks: Annotated[
        str, typer.Option(metavar="K,...", help="Report the share found among the first K.")
    ] = "1,5,10",
    fpir: Annotated[
        str, typer.Option(metavar="RATE,...", help="Report FNIR and DIR at these FPIRs.")
    ] = "1e-1,1e-2,1e-3",
    threshold: Annotated[
        Path | None,
        typer.Option("--threshold", metavar="JSON", help="Thresholds of eval --threshold-out."),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", help="List the N best candidates of each probe as NDJSON.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File for the lists, not stdout."),
    ] = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Draw the CMC: a .png, .svg or .pdf file."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one HTML page.")
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Search every probe among the people of a gallery.

    Closed set: how many are found at rank 1, 5, 10. Open set: FNIR and DIR while at most a share
    FPIR of the strangers, the probes of people the gallery does not have, is taken for somebody.
    Who is on a photo is read from the file, or is the folder the photo lies in. A probe that is
    in the gallery itself is searched without its own photo. (mfrkit search takes photos that
    nobody has named yet.)

    Example: mfrkit identify demo/clean.h5 demo/masked.h5 --top 2 -o hits.jsonl
    """
    from mfrkit.evaluation.identify import identify as run
    from mfrkit.evaluation.options import IdentifyOptions, parse_ranks, parse_rates

    options = IdentifyOptions(
        gallery=gallery,
        probes=probes,
        pool=pool,
        classifier=classifier,
        ranks=parse_ranks(ranks),
        fpir=parse_rates(fpir, "--fpir"),
        thresholds=threshold,
        top=top,
        output=output,
        plots=tuple(plot or ()),
        report=report,
        json=json,
        force=force,
    )
    run(options, ctx.obj)
