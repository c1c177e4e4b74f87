"""The options of `mfrkit verify` and `mfrkit search`, checked before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mfrkit.config import RECOGNISER, REGION
from mfrkit.errors import InputError
from mfrkit.models.cards import ASSUMED, Feeding
from mfrkit.options import Checked, Device, Force, Json, PictureName, RecogniserName

DEFAULT_FMR = 1e-3
DEFAULT_FPIR = 1e-2
_RegionModel = Annotated[
    str, typer.Option("--region-model", help="Predictor that sees who wears a mask: name or file.")
]
_Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE|FILE",
        help="Least similarity of one person, or a file of eval --threshold-out.",
        show_default="the model card's, by who wears a mask",
    ),
]


def check_rate(name: str, rate: float | None) -> None:
    """Refuse a rate that no threshold can have."""
    if rate is not None and not 0 < rate < 1:
        raise InputError(f"{name} {rate:g}: expected a share above 0 and below 1")


@dataclass(frozen=True)
class VerifyOptions(Checked):
    """What to compare, and when two faces count as one person's."""

    photos: Annotated[
        tuple[Path, ...],
        typer.Argument(metavar="A B...", help="Photos; A is compared with each other."),
    ]
    model: RecogniserName = RECOGNISER
    fmr: Annotated[
        float, typer.Option(metavar="RATE", help="Share of strangers taken for the person.")
    ] = DEFAULT_FMR
    threshold: _Threshold = None
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Compare all faces, not the main one of each photo.")
    ] = False
    preview: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Picture of what was compared: .png, .jpg."),
        PictureName,
    ] = None
    region_model: _RegionModel = REGION
    device: Device = "auto"
    json: Json = False
    force: Force = False
    fed: Feeding = ASSUMED

    def __post_init__(self) -> None:
        """Refuse what no run can use, before anything is loaded."""
        from mfrkit.io.files import refuse_existing

        super().__post_init__()
        if len(self.photos) < 2:
            raise InputError("one photo is nothing to compare; name at least two")
        for photo in self.photos:
            if photo.is_dir():
                raise InputError(f"{photo}: is a folder; mfrkit search looks through folders")
            if not photo.is_file():
                raise InputError(f"{photo}: no such file")
        check_rate("FMR", self.fmr)
        if self.preview is not None:
            refuse_existing(self.preview, force=self.force)


_PHOTOS = "Folder, picture, manifest, .rec, .tar, or an HDF5 file of embed."
_SUFFIXES = (".csv", ".jsonl", ".ndjson")


def is_embedding_file(source: str | Path) -> bool:
    """Whether a source is an embedding file rather than photos."""
    return Path(source).suffix in (".h5", ".hdf5")


@dataclass(frozen=True)
class SearchOptions(Checked):
    """Whom to look for, where, and when a face counts as somebody's."""

    gallery: Annotated[str, typer.Argument(metavar="GALLERY", help=f"Known people. {_PHOTOS}")]
    shots: Annotated[str, typer.Argument(metavar="SHOTS", help=f"Whom to look for. {_PHOTOS}")]
    model: Annotated[
        str | None,
        typer.Option(
            *("--model", "-m"),
            help="Bundled name or model file, .onnx, .pth, .ckpt.",
            show_default="mfr, or that of an HDF5 file",
        ),
    ] = None
    fpir: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", help="Share of strangers taken for somebody.", show_default="0.01"
        ),
    ] = None
    fmr: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Share of single comparisons, instead."),
    ] = None
    threshold: _Threshold = None
    index: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the gallery's embeddings are kept.",
            show_default="GALLERY.index.h5",
        ),
    ] = None
    approximate: Annotated[
        bool,
        typer.Option("--approximate", help="Search through a faiss index: millions of people."),
    ] = False
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Answers as .csv or .jsonl."),
    ] = None
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="HTML page with the faces.")
    ] = None
    region_model: _RegionModel = REGION
    device: Device = "auto"
    force: Force = False
    fed: Feeding = ASSUMED

    def __post_init__(self) -> None:
        """Refuse what no run can use, before anything is loaded."""
        from mfrkit.io.files import refuse_existing

        super().__post_init__()
        for source in (self.gallery, self.shots):
            if is_embedding_file(source) and not Path(source).is_file():
                raise InputError(f"{source}: no such file")
        if self.index is not None and is_embedding_file(self.gallery):
            raise InputError(f"--index is for photos; {self.gallery} holds embeddings already")
        if self.gallery == "-":
            raise InputError("GALLERY -: a gallery is read more than once; name a folder or file")
        if self.fpir is not None and self.fmr is not None:
            raise InputError("--fpir and --fmr are two ways to say one thing; give one of them")
        check_rate("FPIR", self.fpir)
        check_rate("FMR", self.fmr)
        if self.output is not None and self.output.suffix not in _SUFFIXES:
            raise InputError(f"{self.output}: expected a name ending in {', '.join(_SUFFIXES)}")
        for path in (self.output, self.report):
            if path is not None:
                refuse_existing(path, force=self.force)

    @property
    def files(self) -> list[Path]:
        """The sides that are embedding files."""
        return [Path(side) for side in (self.gallery, self.shots) if is_embedding_file(side)]
