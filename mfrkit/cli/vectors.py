"""mfrkit merge, fuse, unmask and export: embedding files in, embeddings out, no pictures needed."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.options import Force


def merge(
    ctx: typer.Context,
    parts: Annotated[list[Path], typer.Argument(help="Embedding files, one for each shard.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    force: Force = False,
) -> None:
    """Join the shards of an embedding run into one HDF5 file, rows in input order.

    Files that are no shards follow each other in the order given. Parts made with another model,
    or holding the same key twice, are refused.

    Example: mfrkit embed demo/crops -o 1.h5 --shard 1/2 && mfrkit embed demo/crops -o 2.h5
    --shard 2/2 && mfrkit merge 1.h5 2.h5 -o all.h5
    """
    from mfrkit.stages.vectors import MergeOptions
    from mfrkit.stages.vectors import merge as run

    run(MergeOptions(parts, output, force), ctx.obj)


def fuse(
    ctx: typer.Context,
    parts: Annotated[
        list[Path], typer.Argument(help="Embedding files of the same pictures, by several models.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Of each file's cosine: 2,1.", show_default="all alike"),
    ] = None,
    force: Force = False,
) -> None:
    """Fuse several models' embeddings into one file, whose cosine is the mean of theirs.

    Rows are matched by key and follow the first file.

    Example: mfrkit embed demo/crops --model arcface -o arcface.h5 && mfrkit fuse demo/clean.h5
    arcface.h5 -o fused.h5 --weights 2,1
    """
    from mfrkit.stages.vectors import FuseOptions, parse_weights
    from mfrkit.stages.vectors import fuse as run

    run(FuseOptions(parts, output, parse_weights(weights) if weights else (), force), ctx.obj)


def unmask(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="EMB", help="Embedding file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name, or file of distill --method eum.")
    ] = "eum",
    only_masked: Annotated[
        bool, typer.Option("--only-masked", help="Change the rows marked as masked alone.")
    ] = False,
    force: Force = False,
) -> None:
    """Move the templates of masked faces to where those of the bare faces would be.

    Rows, keys and everything else stay as they are; the recogniser itself is not needed.

    Example: mfrkit embed demo/masked --model arcface -o arcface.h5 && mfrkit unmask arcface.h5
    -o unmasked.h5
    """
    from mfrkit.stages.vectors import UnmaskOptions
    from mfrkit.stages.vectors import unmask as run

    run(UnmaskOptions(source, output, model, only_masked, force), ctx.obj)


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
