"""mfrkit export."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def export(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="EMB", help="HDF5 file of mfrkit embed.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .parquet, .npz, .csv, .faiss or .sql."),
    ],
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="Table of the .sql file.")
    ] = "embeddings",
    force: Force = False,
) -> None:
    """Write embeddings for other programs, with keys, people, masks and norms beside the vectors.

    The form is told by the suffix. Memory does not grow with the file, except for .faiss.

    Example: mfrkit export demo/clean.h5 -o clean.csv
    """
    from mfrkit.stages.export_embeddings import ExportOptions, export_embeddings

    export_embeddings(ExportOptions(source, output, table, force), ctx.obj)
