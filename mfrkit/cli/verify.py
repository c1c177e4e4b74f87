"""mfrkit verify."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.options import Device, Force, Json

Model = Annotated[
    str, typer.Option("--model", "-m", help="Bundled name or model file, .onnx, .pth, .ckpt.")
]
RegionModel = Annotated[
    str, typer.Option("--region-model", help="Predictor that sees who wears a mask: name or file.")
]
GivenThreshold = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="VALUE|FILE",
        help="Least similarity of one person, or a file of eval --threshold-out.",
        show_default="the model card's, by who wears a mask",
    ),
]


def verify(
    ctx: typer.Context,
    photos: Annotated[
        list[Path], typer.Argument(metavar="A B...", help="Photos; A is compared with each other.")
    ],
    model: Model = "mfr",
    fmr: Annotated[
        float,
        typer.Option("--fmr", metavar="RATE", help="Share of strangers taken for the person."),
    ] = 1e-3,
    threshold: GivenThreshold = None,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Compare all faces, not the main one of each photo.")
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option("--preview", metavar="FILE", help="Picture of what was compared: .png, .jpg."),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 if any pair is different.")
    ] = False,
    region_model: RegionModel = "region",
    device: Device = "auto",
    json: Json = False,
    force: Force = False,
) -> None:
    """Say whether photos show the same person, with masks or without.

    Finds the faces, sees who wears a mask, and holds their similarity against the threshold the
    model's card has for that. The large face near the middle of a photo counts. Prints a table on
    a terminal and one JSON record a pair elsewhere.

    Example: mfrkit verify demo/photos/*/*_0001.jpg
    """
    from mfrkit.recognition.verify import VerifyOptions
    from mfrkit.recognition.verify import verify as run

    options = VerifyOptions(
        photos=tuple(photos),
        model=model,
        fmr=fmr,
        threshold=threshold,
        all_faces=all_faces,
        json=json,
        preview=preview,
        device=device,
        region_model=region_model,
        force=force,
    )
    pairs = run(options, ctx.obj)
    if exit_code and any(pair.verdict() == "different" for pair in pairs):
        raise typer.Exit(1)
