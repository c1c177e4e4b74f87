"""mfrkit merge, fuse, unmask and export: embedding files in, embeddings out, no pictures needed."""

import typer

from mfrkit.cli.options import takes
from mfrkit.stages.file_options import ExportOptions, FuseOptions, MergeOptions, UnmaskOptions


@takes(MergeOptions)
def merge(ctx: typer.Context, options: MergeOptions) -> None:
    """Join the shards of an embedding run into one HDF5 file, rows in input order.

    Files that are no shards follow each other in the order given. Parts made with another model,
    or holding the same key twice, are refused.

    Example: mfrkit embed demo/crops -o 1.h5 --shard 1/2 && mfrkit embed demo/crops -o 2.h5
    --shard 2/2 && mfrkit merge 1.h5 2.h5 -o all.h5
    """
    from mfrkit.stages.vectors import merge as run

    run(options, ctx.obj)


@takes(FuseOptions)
def fuse(ctx: typer.Context, options: FuseOptions) -> None:
    """Fuse several models' embeddings into one file, whose cosine is the mean of theirs.

    Rows are matched by key and follow the first file.

    Example: mfrkit embed demo/crops --model arcface -o arcface.h5 && mfrkit fuse demo/clean.h5
    arcface.h5 -o fused.h5 --weights 2,1
    """
    from mfrkit.stages.vectors import fuse as run

    run(options, ctx.obj)


@takes(UnmaskOptions)
def unmask(ctx: typer.Context, options: UnmaskOptions) -> None:
    """Move the templates of masked faces to where those of the bare faces would be.

    Rows, keys and everything else stay as they are; the recogniser itself is not needed.

    Example: mfrkit embed demo/masked --model arcface -o arcface.h5 && mfrkit unmask arcface.h5
    -o unmasked.h5
    """
    from mfrkit.stages.vectors import unmask as run

    run(options, ctx.obj)


@takes(ExportOptions)
def export(ctx: typer.Context, options: ExportOptions) -> None:
    """Write embeddings for other programs, with keys, people, masks and norms beside the vectors.

    The form is told by the suffix. Memory does not grow with the file, except for .faiss.

    Example: mfrkit export demo/clean.h5 -o clean.csv
    """
    from mfrkit.stages.export_embeddings import export_embeddings as run

    run(options, ctx.obj)
