"""The options of the per-image commands, checked before any work.

Help reads them too: what only a run needs is imported where it is used.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfrkit.config import GENERATOR, RECOGNISER, REGION, Every, RunOptions
from mfrkit.errors import InputError
from mfrkit.models.cards import ASSUMED
from mfrkit.models.cards import Feeding as Feeding
from mfrkit.options import (
    Checked,
    ImageFormat,
    OneOf,
    Preview,
    RecogniserName,
    Seed,
    Some,
    Usually,
    Within,
)

if TYPE_CHECKING:
    from mfrkit.masks.options import MaskOptions

CROPS = Usually("crops", "mfrkit align PHOTOS")

# Least score of a face, by detector, where none is asked for.
_LEAST_SCORES = {"yunet": 0.6}
_LEAST_SCORE = 0.7
EACH_SECOND = Every(1, "seconds")
Detector = Annotated[
    str,
    typer.Option("--detector", help="yunet, mtcnn, face-alignment, or none: aligned already."),
    OneOf("yunet", "mtcnn", "face-alignment", "none"),
]
Landmarks = Annotated[
    str | None,
    typer.Option(
        "--landmarks",
        help="Fit crops by the face's mesh, or by five points.",
        metavar="mesh|five",
        show_default="mesh; five with face-alignment",
    ),
    OneOf("mesh", "five"),
]


@dataclass(frozen=True)
class AlignOptions(Checked):
    """What to align, and how.

    Attributes:
        landmarks: `mesh` is the upper vertices of the face, `five` the points of the detector; None
            is `mesh` with the bundled detectors.
        select: `center` is a large face near the middle.
        min_score: None is 0.6 for `yunet` and 0.7 for others.
        only: pair list; photos it does not name are passed over.
    """

    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Folder, picture, video clip, manifest or -.")
    ]
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("crops")
    detector: Detector = "yunet"
    landmarks: Landmarks = None
    select: Annotated[
        str,
        typer.Option(help="Which faces of a photo: center, largest or all."),
        OneOf("center", "largest", "all"),
    ] = "center"
    size: Annotated[int, typer.Option(help="Side of a crop; a multiple of 112.")] = 112
    margin: Annotated[float, typer.Option(help="Extra context on each side, in crop sides.")] = 0.0
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Least detector score of a face, 0 to 1.", show_default="0.6 with yunet, else 0.7"
        ),
        Within(0, 1),
    ] = None
    min_size: Annotated[
        int,
        typer.Option(help="Least height of a face in the photo, pixels."),
        Within(12, unit="pixels"),
    ] = 40
    image_format: ImageFormat = "png"
    every: Annotated[
        Every,
        typer.Option(
            metavar="N|Ns",
            help="Frames to take of a video clip: one in N, or one each N seconds.",
            parser=Every.parse,
        ),
    ] = EACH_SECOND
    preview: Preview = None
    only: Annotated[
        Path | None, typer.Option(metavar="PAIRS", help="Only photos of this pair list.")
    ] = None
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is loaded."""
        from mfrkit.faces.geometry import template  # loads OpenCV, which help does without

        super().__post_init__()
        template(self.size, self.margin)
        _check_preview(self.preview, self.run)

    @property
    def fits_mesh(self) -> bool:
        """Whether crops are fitted by the vertices of the face."""
        usual = "five" if self.detector == "face-alignment" else "mesh"
        return (self.landmarks or usual) == "mesh" and self.detector != "none"

    @property
    def fitted_by(self) -> str:
        """Return what crops are fitted by, of `LANDMARKS`."""
        return "mesh" if self.fits_mesh else "five"

    @property
    def least_score(self) -> float:
        """Return the least detector score of a face that counts."""
        default = _LEAST_SCORES.get(self.detector, _LEAST_SCORE)
        return default if self.min_score is None else self.min_score

    def recipe(self) -> dict[str, Any]:
        """Return the options that shape results, as the run's record keeps them."""
        names = ("detector", "select", "size", "margin", "min_size", "image_format")
        recipe = {name: getattr(self, name) for name in names}
        recipe["landmarks"] = self.fitted_by
        recipe["min_score"] = self.least_score
        if self.every != EACH_SECOND:  # earlier records know of no clips
            recipe["every"] = str(self.every)
        return recipe | _only(self.only)


def _check_preview(sheet: Path | None, run: RunOptions) -> None:
    from mfrkit.io.files import refuse_existing

    if sheet is not None:
        refuse_existing(sheet, force=run.force or run.resume)


def _only(pairs: Path | None) -> dict[str, Any]:
    """Return what the record of a run says of the pair list that chose its inputs."""
    if pairs is None:
        return {}
    from mfrkit.io.pairs import read_pairs  # loads NumPy, which help does without

    return {"only": read_pairs(pairs).images()}


DEFAULT_TYPES = "surgical,n95,cloth"
Types = Annotated[
    str | None,
    typer.Option(
        "--type",
        help="Mask kinds with weights: surgical:3,n95:1,cloth:1; or all. --list shows them.",
        show_default=DEFAULT_TYPES,
    ),
]
Color = Annotated[
    str | None, typer.Option("--color", help="Colours, by name or #rrggbb, separated by commas.")
]
Texture = Annotated[str | None, typer.Option(help="Textures of cloth masks, separated by commas.")]
Coverage = Annotated[
    str | None,
    typer.Option("--coverage", help="How far up the nose: above, on, below, chin; with weights."),
]
Jitter = Annotated[float, typer.Option(help="How differently masks sit; 0 wears all alike.")]


@dataclass(frozen=True)
class SynthMaskOptions(Checked):
    """What to mask, and how.

    Attributes:
        types, color, texture, coverage, probability, jitter: see `MaskOptions.parse`; without
            types, the user's own masks if there are any, else the everyday three.
        specs: of an earlier run, whose masks are worn again.
        region: `soft` is how much of each pixel is covered, `exact` whether at least half of it is.
        detector: `auto` is `yunet`, in what is no aligned crop; `none` looks for no meshes either.
        only: pair list; pictures it does not name are passed over.
    """

    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="Crops or photos: folder, picture, manifest or -."),
        Usually("crops", "mfrkit align PHOTOS", unless=("list_kinds", "check")),
    ]
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "masked"
    )
    types: Types = None
    color: Color = None
    texture: Texture = None
    coverage: Coverage = None
    template: Annotated[
        Path | None, typer.Option(help="Your own mask: a PNG, its six points in a .json beside it.")
    ] = None
    worn_from: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Masks off photos, as cut-masks makes them: type worn."),
    ] = None
    specs: Annotated[
        Path | None, typer.Option(help="Draw the masks of this manifest again, matched by key.")
    ] = None
    seed: Seed = 0
    variants: Annotated[int, typer.Option(help="Masked versions of each picture."), Within(1)] = 1
    probability: Annotated[float, typer.Option(help="Share of faces that get a mask, 0 to 1.")] = (
        1.0
    )
    jitter: Jitter = 1.0
    region: Annotated[
        str,
        typer.Option(help="PNG of the covered region: soft, exact (0 or 255), both, none."),
        OneOf("soft", "exact", "both", "none"),
    ] = "soft"
    detector: Annotated[
        str,
        typer.Option(
            help="Finds faces where SRC has no landmarks: auto, yunet, mtcnn, face-alignment or "
            "none."
        ),
        OneOf("auto", "yunet", "mtcnn", "face-alignment", "none"),
    ] = "auto"
    preview: Preview = None
    image_format: ImageFormat = "png"
    only: Path | None = None
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is loaded."""
        super().__post_init__()
        _check_preview(self.preview, self.run)

    def wanted(self) -> "MaskOptions":
        """Return what may be drawn.

        Raises:
            InputError: unknown kinds, colours or textures, or a template that is not given.
        """
        from mfrkit.masks.kinds import OWN, TEMPLATE, WORN
        from mfrkit.masks.options import MaskOptions

        own = {TEMPLATE: self.template, WORN: self.worn_from}
        given = [kind for kind, path in own.items() if path is not None]
        default = ",".join(given) or DEFAULT_TYPES
        wanted = MaskOptions.parse(
            types=default if self.types is None else self.types,
            colors=self.color,
            textures=self.texture,
            coverage=self.coverage,
            probability=self.probability,
            jitter=self.jitter,
        )
        for kind in wanted.types:
            if kind in OWN and kind not in given:
                raise InputError(f"--type {kind}: which one? name the file with {OWN[kind]}")
        return wanted

    def recipe(self) -> dict[str, Any]:
        """Return the options that shape results, as the run's record keeps them."""
        names = (
            "types", "color", "texture", "coverage", "probability", "jitter", "seed", "variants",
            "region", "detector", "image_format",
        )  # fmt: skip
        files = {"template": self.template, "specs": self.specs}
        if self.worn_from is not None:
            files["worn_from"] = self.worn_from
        recipe = {name: getattr(self, name) for name in names} | {
            name: None if path is None else str(path) for name, path in files.items()
        }
        return recipe | _only(self.only)


PREDICTED, MANIFEST = "predicted", "manifest"


@dataclass(frozen=True)
class InpaintOptions(Checked):
    """What to complete, and how.

    Attributes:
        region: `predicted`, `manifest`, or a folder of PNGs named as the faces' keys.
        region_model: None takes the generator itself where it is a predictor, else `region`.
    """

    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="Masked crops: folder, picture, manifest or -."),
        Usually("masked", "mfrkit synth-mask"),
    ]
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "completed"
    )
    model: Annotated[
        str, typer.Option("--model", "-m", help="Completion generator: name or model file.")
    ] = GENERATOR
    region: Annotated[
        str, typer.Option(metavar="predicted|manifest|DIR", help="Where regions come from.")
    ] = PREDICTED
    region_model: Annotated[
        str | None, typer.Option("--region-model", help="Region predictor: name or model file.")
    ] = None
    save_region: Annotated[
        bool, typer.Option("--save-region", help="Write each region as PNG too.")
    ] = False
    preview: Annotated[Path | None, typer.Option(help="Contact sheet of the first faces.")] = None
    image_format: ImageFormat = "png"
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is loaded."""
        super().__post_init__()
        if self.region not in (PREDICTED, MANIFEST) and not Path(self.region).is_dir():
            raise InputError(
                f"--region {self.region!r}: expected predicted, manifest or a folder of PNGs"
            )
        _check_preview(self.preview, self.run)

    def predictor(self) -> str:
        """Return the region predictor's name or file."""
        if self.region_model is not None:
            return self.region_model
        from mfrkit.models.registry import read_card

        return self.model if "region" in read_card(self.model)[0].tasks else REGION

    def recipe(self) -> dict[str, Any]:
        """Return the options that shape results, and which models these are.

        Raises:
            InputError: a model that is not there.
            WeightsError: a model without a readable card.
        """
        from mfrkit.models.registry import read_card

        models = {"model": self.model}
        if self.region == PREDICTED:
            models["region_model"] = self.predictor()
        hashes = {f"{name}_sha256": read_card(model)[0].sha256 for name, model in models.items()}
        return {
            **models,
            **hashes,
            "region": self.region,
            "save_region": self.save_region,
            "image_format": self.image_format,
        }


def mask_kinds() -> list[str]:
    """Return the kinds of mask there are."""
    from mfrkit.masks.kinds import KINDS

    return list(KINDS)


def mask_colours() -> list[str]:
    """Return the colours that have names."""
    from mfrkit.masks.kinds import COLORS

    return list(COLORS)


def models_for(task: str | None) -> list[str]:
    """Return the bundled models for a task; all of them for None."""
    from mfrkit.models.cards import BUNDLED
    from mfrkit.models.registry import read_card

    return [name for name in BUNDLED if task is None or task in read_card(name)[0].tasks]


@dataclass(frozen=True)
class EmbedOptions(Checked):
    """What to embed, and with which model; `fed`: how a file of another program is fed."""

    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="Crops: folder, picture, manifest, .rec, .tar or -."),
        CROPS,
    ]
    output: Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")] = Path(
        "embeddings.h5"
    )
    model: RecogniserName = RECOGNISER
    flip: Annotated[bool, typer.Option(help="Average each face with its mirror image.")] = True
    fed: Feeding = ASSUMED
    detect_mask: Annotated[
        bool, typer.Option("--detect-mask", help="Look at each face and note if it is masked.")
    ] = False
    region_model: Annotated[
        str, typer.Option("--region-model", help="Region predictor that looks: name or file.")
    ] = REGION
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def mask_model(self) -> str | None:
        """Return the predictor that says which faces are masked; None leaves it to the manifest."""
        return self.region_model if self.detect_mask else None


@dataclass(frozen=True)
class PackOptions:
    """What to pack, and into which files."""

    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="Crops: folder, manifest, .rec, .tar shards or -."),
        CROPS,
    ]
    output: Annotated[
        Path, typer.Option("--output", "-o", help="train.rec, train.tar or train-{000..009}.tar.")
    ] = Path("train.rec")
    run: Annotated[RunOptions, Some("workers", "force", "dry_run", "max_skipped")] = field(
        default_factory=RunOptions
    )
