"""The arguments of synth-mask that say what to draw and where."""

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str | None,
    typer.Argument(metavar="SRC", help="Crops or photos: folder, picture, manifest or -."),
]
Types = Annotated[
    str | None,
    typer.Option(
        "--type",
        help="Mask kinds with weights: surgical:3,n95:1,cloth:1; or all. --list shows them.",
        show_default="surgical,n95,cloth",
    ),
]
Color = Annotated[
    str | None, typer.Option("--color", help="Colours, by name or #rrggbb, separated by commas.")
]
Texture = Annotated[
    str | None, typer.Option("--texture", help="Textures of cloth masks, separated by commas.")
]
Coverage = Annotated[
    str | None,
    typer.Option("--coverage", help="How far up the nose: above, on, below, chin; with weights."),
]
Template = Annotated[
    Path | None,
    typer.Option("--template", help="Your own mask: a PNG, its six points in a .json beside it."),
]
WornFrom = Annotated[
    Path | None,
    typer.Option(
        "--worn-from", metavar="FILE", help="Masks off photos, as cut-masks makes them: type worn."
    ),
]
CheckTemplate = Annotated[
    bool,
    typer.Option("--check-template", help="Draw the template with its points, say what is wrong."),
]
ListKinds = Annotated[
    bool, typer.Option("--list", help="Print the kinds of mask; --preview draws each.")
]
Specs = Annotated[
    Path | None,
    typer.Option("--specs", help="Draw the masks of this manifest again, matched by key."),
]
Variants = Annotated[int, typer.Option("--variants", help="Masked versions of each picture.")]
Probability = Annotated[
    float, typer.Option("--probability", help="Share of faces that get a mask, 0 to 1.")
]
Jitter = Annotated[
    float, typer.Option("--jitter", help="How differently masks sit; 0 wears all alike.")
]
Region = Annotated[
    str,
    typer.Option("--region", help="PNG of the covered region: soft, exact (0 or 255), both, none."),
]
Detector = Annotated[
    str,
    typer.Option(
        "--detector",
        help="Finds faces where SRC has no landmarks: auto, yunet, mtcnn, face-alignment or none.",
    ),
]
Preview = Annotated[
    Path | None, typer.Option("--preview", help="Write a contact sheet of the first faces.")
]
