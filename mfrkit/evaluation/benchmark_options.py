"""The options of `mfrkit benchmark`, checked before anything is prepared.

Of published data sets it knows where they keep their pair list and their pictures. The names are
those of the archives as they unpack; nothing is downloaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from mfrkit.config import RECOGNISER, TEACHER, RunOptions
from mfrkit.errors import InputError
from mfrkit.evaluation.options import RATE, Ci, Missing, check_ci, rates_of
from mfrkit.models.cards import ASSUMED
from mfrkit.options import Checked, Json, Like, OneOf, Seed, Some
from mfrkit.stages.options import (
    AlignOptions,
    Color,
    Coverage,
    Detector,
    Feeding,
    Jitter,
    Landmarks,
    SynthMaskOptions,
    Texture,
    Types,
)

PLAIN_FIGURES = ("eer", "fmr100", "fmr1000", "accuracy", "auc", "fdr")
_WORN = ("types", "color", "texture", "coverage", "jitter", "seed")


@dataclass(frozen=True)
class Layout:
    """One data set's folder.

    Attributes:
        title: of the data set.
        pairs: names the pair list may have, the usual one first.
        images: folders the pictures may lie in, the usual one first; `.` is the folder itself.
        aligned: whether the pictures are crops already.
        masks: whether masks are drawn; off where people wear them.
    """

    title: str
    pairs: tuple[str, ...]
    images: tuple[str, ...]
    aligned: bool = False
    masks: bool = True


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "lfw": Layout("LFW, View 2", ("pairs.txt",), ("lfw", "lfw-deepfunneled", "lfw_funneled")),
        "calfw": Layout(
            "CALFW, cross-age",
            ("pairs_CALFW.txt", "pairs.txt"),
            ("images&landmarks/images", "images", "aligned images"),
        ),
        "cplfw": Layout(
            "CPLFW, cross-pose", ("pairs_CPLFW.txt", "pairs.txt"), ("images", "aligned images")
        ),
        "agedb-30": Layout("AgeDB-30", ("agedb_30.bin",), ("agedb_30.bin",), aligned=True),
        "cfp-fp": Layout(
            "CFP-FP, frontal to profile", ("cfp_fp.bin",), ("cfp_fp.bin",), aligned=True
        ),
        "mfr2": Layout("MFR2, real masks", ("pairs.txt",), ("mfr2", "."), masks=False),
        "mlfw": Layout(
            "MLFW, drawn masks",
            ("pairs.txt", "pairs_MLFW.txt"),
            ("origin", "original", "aligned"),
            masks=False,
        ),
        "rmfvd": Layout(
            "RMFVD, real masks", ("pairs.txt", "pairs.csv"), ("images", "."), masks=False
        ),
    }
)


def _figures(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of figures, once each.

    Example:
        >>> _figures("EER, tar@1e-3,eer")
        ('eer', 'tar@1e-3')
    """
    return tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))


def far_in(name: str) -> float | None:
    """Return the FAR in `tar@FAR`; None for another name.

    Example:
        >>> far_in("tar@1e-3"), far_in("tar@2"), far_in("eer")
        (0.001, None, None)
    """
    kind, _, rate = name.partition("@")
    try:
        far = float(rate)
    except ValueError:
        return None
    return far if kind == "tar" and 0 < far <= 1 else None


@dataclass(frozen=True)
class BenchmarkOptions(Checked):
    """What to compare, and how it is prepared.

    Attributes:
        pairs: None makes tables of a finished benchmark.
        images: None with a layout.
        models: no two with the same name.
        layout: of the folder `pairs`, see `LAYOUTS`.
        detector: `none` where the pictures are crops.
        mask_on: None is photos where there are any.
        figures: what the tables for a paper show under each condition.
        fed: how models of other programs are fed.
        run: how the steps are sized; `force` begins them all anew.

    Raises:
        InputError: on construction, for a value no run can use.
    """

    pairs: Annotated[
        Path | None,
        typer.Argument(metavar="PAIRS", help="Pair list; with --layout the data set's folder"),
    ] = None
    images: Annotated[
        str | None, typer.Argument(metavar="IMAGES", help="Photos or crops: folder or manifest.")
    ] = None
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "benchmark"
    )
    models: Annotated[
        tuple[str, ...],
        typer.Option("--model", "-m", help="Bundled name or model file; may be repeated."),
    ] = (TEACHER, RECOGNISER)
    layout: Annotated[
        str | None,
        typer.Option(help="lfw, calfw, cplfw, agedb-30, cfp-fp, mfr2, mlfw or rmfvd: finds both."),
        OneOf(*LAYOUTS),
    ] = None
    detector: Detector = "yunet"
    landmarks: Landmarks = None
    mask_on: Annotated[
        str | None,
        typer.Option(
            help="Draw masks on photos, found and aligned under them, or on aligned crops.",
            metavar="photos|crops",
            show_default="photos; crops with --detector none",
        ),
        OneOf("photos", "crops"),
    ] = None
    no_masks: Annotated[
        bool, typer.Option("--no-masks", help="Draw none: people wear theirs in the photos.")
    ] = False
    fmr: Annotated[
        tuple[float, ...],
        typer.Option(
            help="FMRs at which thresholds are set, on unmasked pairs.",
            show_default="1e-2,1e-3",
            parser=rates_of("--fmr"),
        ),
        RATE,
    ] = (1e-2, 1e-3)
    ci: Ci = None
    missing: Missing = "reject"
    tables: Annotated[
        tuple[Path, ...],
        typer.Option(
            "--table",
            metavar="FILE",
            help="Tables for a paper: a .tex or .md file; without PAIRS, of what --output holds.",
        ),
        Like(r"(?i).*\.(md|tex)", "a name ending in .md or .tex"),
    ] = ()
    figures: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="NAME,...",
            help="What they show: eer, fmr100, fmr1000, tar@1e-3, accuracy, auc, fdr.",
            parser=_figures,
        ),
    ] = PLAIN_FIGURES[:3]
    seed: Seed = 0
    json: Json = False
    types: Types = None
    color: Color = None
    texture: Texture = None
    coverage: Coverage = None
    jitter: Jitter = 1.0
    fed: Feeding = ASSUMED
    run: Annotated[
        RunOptions, Some("workers", "batch_size", "device", "force", "dry_run", "cluster")
    ] = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is prepared."""
        super().__post_init__()
        check_ci(self.ci)
        for name in self.figures:
            if name not in PLAIN_FIGURES and far_in(name) is None:
                raise InputError(
                    f"--figures {name!r}: expected {', '.join(PLAIN_FIGURES)} or tar@1e-3"
                )
        if self.pairs is None and not self.tables:
            raise InputError("no pair list given; name one, or --table for a finished benchmark")
        if self.pairs is not None and self.layout is None and self.images is None:
            raise InputError(
                f"{self.pairs}: which pictures? name their folder, or the --layout of both"
            )
        if self.layout is not None and self.images is not None:
            raise InputError(
                f"{self.images}: --layout finds the pictures itself; name the folder alone"
            )
        if self.detector == "none" and self.mask_on == "photos":
            raise InputError("--mask-on photos: the pictures are crops already (--detector none)")
        self._check_models()
        self.mask_options().wanted()

    def _check_models(self) -> None:
        if not self.models:
            raise InputError("no model given; name one with --model")
        labels = [label_of(model) for model in self.models]
        if len(set(labels)) != len(labels):
            raise InputError(f"two models are called alike: {', '.join(sorted(labels))}")
        if self.fed != ASSUMED:
            from mfrkit.models.loading import is_foreign

            if not any(map(is_foreign, self.models)):
                raise InputError("--colour, --mean and --std are for models of other programs")

    def located(self) -> "BenchmarkOptions":
        """Return the options with the pair list and the pictures of their layout.

        Raises:
            InputError: the data set is not there; says where its files go.
        """
        if self.layout is None:
            return self
        known, folder = LAYOUTS[self.layout], self.pairs or Path()
        pairs, images = _first(folder, known.pairs), _first(folder, known.images)
        if pairs is None or images is None:
            lacking = known.pairs if pairs is None else known.images
            raise InputError(
                f"{folder}: no {' or '.join(lacking)}; unpack {known.title} so that the pair list "
                f"is {folder / known.pairs[0]} and the pictures are in {folder / known.images[0]}"
            )
        return replace(
            self,
            pairs=pairs,
            images=str(images),
            layout=None,
            detector="none" if known.aligned else self.detector,
            no_masks=self.no_masks or not known.masks,
        )

    @property
    def is_verification_file(self) -> bool:
        """Whether pairs and crops are in one file, to be unpacked."""
        return Path(self.images or "").suffix == ".bin"

    @property
    def masks(self) -> bool:
        """Whether there is a masked set; not for photographs of real masks."""
        return not self.no_masks

    @property
    def masks_photos(self) -> bool:
        """Whether masks are drawn on photos, before faces are looked for."""
        return self.masks and self.detector != "none" and self.mask_on != "crops"

    @property
    def crops(self) -> Path:
        """Folder of the aligned faces."""
        return self.output / "crops"

    @property
    def masked_photos(self) -> Path:
        """Folder of the masked photos."""
        return self.output / "masked_photos"

    @property
    def masked(self) -> Path:
        """Folder of the masked faces: cut from masked photos, or crops masked afterwards."""
        return self.output / ("masked" if self.masks_photos else "masked_crops")

    @property
    def compared(self) -> tuple[Path, ...]:
        """Folders whose faces are compared."""
        return (self.crops, self.masked) if self.masks else (self.crops,)

    def embeddings(self, label: str) -> list[Path]:
        """Return a model's embedding files, one for each folder that is compared."""
        return [self.output / "embeddings" / f"{label}-{each.name}.h5" for each in self.compared]

    def align_options(self, *, masked: bool = False) -> AlignOptions:
        """Return how the photos are aligned, those that were masked or those as they came."""
        return AlignOptions(
            source=str(self.masked_photos) if masked else str(self.images),
            output=self.masked if masked else self.crops,
            detector=self.detector,
            landmarks=self.landmarks,
            only=None if masked else self.pairs,
            run=self.run,
        )

    def mask_options(self) -> SynthMaskOptions:
        """Return how photos or crops are masked.

        Photos are written as PNG, since JPEG would wear away the masked pictures alone.
        """
        on_photos = self.masks_photos
        return SynthMaskOptions(
            source=str(self.images) if on_photos else str(self.crops),
            output=self.masked_photos if on_photos else self.masked,
            only=self.pairs if on_photos else None,
            region="none",
            run=self.run,
            **{name: getattr(self, name) for name in _WORN},
        )

    def begun(self) -> dict[str, Any]:
        """Return what a later run in the same folder must agree with, by option."""
        begun: dict[str, Any] = {
            "images": str(Path(str(self.images)).resolve()),
            "detector": self.detector,
            "landmarks": self.align_options().fitted_by,
        }
        if self.pairs is not None and not self.is_verification_file:
            from mfrkit.io.pairs import read_pairs  # loads NumPy, which help does without

            begun["pairs"] = read_pairs(self.pairs).images()
        return begun | ({name: getattr(self, name) for name in _WORN} if self.masks else {})


def label_of(model: str) -> str:
    """Return what tables call a model.

    Example:
        >>> label_of("arcface"), label_of("runs/mine.safetensors")
        ('arcface', 'mine')
    """
    return Path(model).stem


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)
