"""mfrkit search."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.verify import GivenThreshold, RegionModel
from mfrkit.options import Device, Force

Photos = "Folder, picture, manifest, .rec, .tar, or an HDF5 file of embed."


def search(
    ctx: typer.Context,
    gallery: Annotated[str, typer.Argument(metavar="GALLERY", help=f"Known people. {Photos}")],
    shots: Annotated[str, typer.Argument(metavar="SHOTS", help=f"Whom to look for. {Photos}")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Bundled name or model file, .onnx, .pth, .ckpt.",
            show_default="mfr, or that of an HDF5 file",
        ),
    ] = None,
    fpir: Annotated[
        float | None,
        typer.Option(
            "--fpir",
            metavar="RATE",
            help="Share of strangers taken for somebody.",
            show_default="0.01",
        ),
    ] = None,
    fmr: Annotated[
        float | None,
        typer.Option("--fmr", metavar="RATE", help="Share of single comparisons, instead."),
    ] = None,
    threshold: GivenThreshold = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            metavar="FILE",
            help="Where the gallery's embeddings are kept.",
            show_default="GALLERY.index.h5",
        ),
    ] = None,
    approximate: Annotated[
        bool,
        typer.Option("--approximate", help="Search through a faiss index: millions of people."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Answers as .csv or .jsonl."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="HTML page with the faces.")
    ] = None,
    region_model: RegionModel = "region",
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Say who is on photos: every face of every shot, a person of the gallery or unknown.

    A gallery is a folder for each person, or one photo for each, named after them. Its embeddings
    are kept beside it and made anew for photos that changed. Prints a table on a terminal and one
    JSON record a face elsewhere. (identify measures, on shots whose people are known, how well
    that works.)

    Example: mfrkit search demo/photos demo/photos/joe_biden --report who.html
    """
    from mfrkit.recognition.search import SearchOptions
    from mfrkit.recognition.search import search as run

    options = SearchOptions(
        gallery=gallery,
        shots=shots,
        model=model,
        fpir=fpir,
        fmr=fmr,
        threshold=threshold,
        index=index,
        approximate=approximate,
        output=output,
        report=report,
        device=device,
        region_model=region_model,
        force=force,
    )
    run(options, ctx.obj)
