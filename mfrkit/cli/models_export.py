"""mfrkit models export."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import Force


def export(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="NAME|FILE", help="Recogniser: whatever embed --model takes."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="ONNX file.", show_default="NAME.onnx"),
    ] = None,
    force: Force = False,
) -> None:
    """Write a recogniser as an ONNX file, for programs without torch.

    It takes float32 (N, 3, 112, 112), RGB as (v - 127.5) / 127.5, and gives (N, D) embeddings, as
    InsightFace's files do. The file is tried in ONNX Runtime before it gets its name.

    Example: mfrkit models export mfr -o mfr.onnx
    """
    from mfrkit.stages.export import export_model

    export_model(model, output or Path(f"{Path(model).stem}.onnx"), ctx.obj, force=force)
