"""The options of `mfrkit align`, `synth-mask` and `inpaint`, checked before anything is loaded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfrkit.config import RunOptions
from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.io.clips import Every
from mfrkit.io.files import refuse_existing
from mfrkit.io.pairs import read_pairs
from mfrkit.masks.kinds import COLORS as COLORS
from mfrkit.masks.kinds import KINDS as KINDS
from mfrkit.masks.kinds import OWN, TEMPLATE, WORN
from mfrkit.masks.options import MaskOptions
from mfrkit.models.cards import BUNDLED
from mfrkit.models.model_files import read_card

DETECTORS = ("yunet", "mtcnn", "face-alignment", "none")
LANDMARKS = ("mesh", "five")
# Least score of a face, by detector, where none is asked for.
_LEAST_SCORES = {"yunet": 0.6}
_LEAST_SCORE = 0.7
SELECTIONS = ("center", "largest", "all")
FORMATS = ("png", "jpg")
EACH_SECOND = Every(1, "seconds")


@dataclass(frozen=True)
class AlignOptions:
    """What to align, and how.

    Attributes:
        source: SRC.
        output: folder to write.
        detector: `yunet`, `mtcnn`, `face-alignment`, or `none` for crops that are aligned already.
        landmarks: what a crop is fitted by: `mesh`, the upper vertices of the face, or `five`, the
            points of the detector; None is `mesh` with the bundled detectors.
        select: which faces of a photo: `center` (large and near the middle), `largest` or `all`.
        size: side of a crop, a multiple of 112 pixels.
        margin: extra context on each side, in sides of the plain crop.
        min_score: least detector score, [0, 1]; None is 0.6 for `yunet` and 0.7 for others.
        min_size: least height of a face in the photo, pixels.
        image_format: `png` or `jpg`.
        every: which frames of video clips are taken.
        preview: contact sheet to write.
        only: pair list; photos it does not name are passed over. None takes all.
        run: how the run is sized and continued.

    Raises:
        InputError: on construction, for a value no run can use.
    """

    source: str
    output: Path
    detector: str = "yunet"
    landmarks: str | None = None
    select: str = "center"
    size: int = 112
    margin: float = 0.0
    min_score: float | None = None
    min_size: int = 40
    image_format: str = "png"
    every: Every = EACH_SECOND
    preview: Path | None = None
    only: Path | None = None
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is loaded."""
        template(self.size, self.margin)
        for option, value, known in (
            ("--detector", self.detector, DETECTORS),
            ("--select", self.select, SELECTIONS),
            ("--format", self.image_format, FORMATS),
        ):
            if value not in known:
                raise InputError(f"{option} {value!r}: expected {', '.join(known)}")
        if self.landmarks not in (None, *LANDMARKS):
            raise InputError(f"--landmarks {self.landmarks!r}: expected {', '.join(LANDMARKS)}")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise InputError(f"--min-score {self.min_score}: expected 0 to 1")
        if self.min_size < 12:
            raise InputError(f"--min-size {self.min_size}: expected at least 12 pixels")
        if self.preview is not None:
            refuse_existing(self.preview, force=self.run.force or self.run.resume)

    @property
    def fits_mesh(self) -> bool:
        """Whether crops are fitted by the vertices of the face."""
        return (self.landmarks or _by_default(self.detector)) == "mesh" and self.detector != "none"

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
        return recipe | ({} if self.only is None else {"only": read_pairs(self.only).images()})


def _by_default(detector: str) -> str:
    return "five" if detector == "face-alignment" else "mesh"


REGIONS = ("soft", "exact", "both", "none")
MASK_DETECTORS = ("auto", "yunet", "mtcnn", "face-alignment", "none")
DEFAULT_TYPES = "surgical,n95,cloth"


@dataclass(frozen=True)
class SynthMaskOptions:
    """What to mask, and how.

    Attributes:
        source: SRC.
        output: folder to write.
        types, color, texture, coverage, probability, jitter: see `MaskOptions.parse`; without
            types, the user's own masks if there are any, else the everyday three.
        template: PNG of the user's own mask, its points in a JSON file beside it.
        worn_from: file of masks that `mfrkit cut-masks` made, for the kind `worn`.
        specs: manifest of an earlier run whose masks are worn again.
        seed: of everything drawn.
        variants: masked versions of each picture.
        region: `soft` (how much of each pixel is covered), `exact` (whether at least half of it
            is), `both` or `none`.
        detector: finds faces where there are no landmarks: `auto` (`yunet`, in what is no aligned
            crop), `yunet`, `mtcnn`, `face-alignment` or `none`, which looks for no meshes either.
        preview: contact sheet to write.
        image_format: `png` or `jpg`.
        only: pair list; pictures it does not name are passed over. None takes all.
        run: how the run is sized and continued.

    Raises:
        InputError: on construction, for a value no run can use.
    """

    source: str
    output: Path
    types: str | None = None
    color: str | None = None
    texture: str | None = None
    coverage: str | None = None
    probability: float = 1.0
    jitter: float = 1.0
    template: Path | None = None
    worn_from: Path | None = None
    specs: Path | None = None
    seed: int = 0
    variants: int = 1
    region: str = "soft"
    detector: str = "auto"
    preview: Path | None = None
    image_format: str = "png"
    only: Path | None = None
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is loaded."""
        for option, value, known in (
            ("--region", self.region, REGIONS),
            ("--detector", self.detector, MASK_DETECTORS),
            ("--format", self.image_format, ("png", "jpg")),
        ):
            if value not in known:
                raise InputError(f"{option} {value!r}: expected {', '.join(known)}")
        if self.variants < 1:
            raise InputError(f"--variants {self.variants}: expected at least 1")
        if self.preview is not None:
            refuse_existing(self.preview, force=self.run.force or self.run.resume)

    def wanted(self) -> MaskOptions:
        """Return what may be drawn.

        Raises:
            InputError: unknown kinds, colours or textures, or a template that is not given.
        """
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
        return recipe | ({} if self.only is None else {"only": read_pairs(self.only).images()})


PREDICTED, MANIFEST = "predicted", "manifest"


@dataclass(frozen=True)
class InpaintOptions:
    """What to complete, and how.

    Attributes:
        source: SRC.
        output: folder to write.
        model: completion generator, bundled name or model file.
        region: where regions come from: `predicted`, `manifest`, or a folder of PNGs named as the
            faces' keys.
        region_model: predictor, bundled name or model file; None takes the generator itself where
            it is one, else `region`.
        save_region: write the regions too.
        preview: contact sheet to write.
        image_format: `png` or `jpg`.
        run: how the run is sized and continued.

    Raises:
        InputError: on construction, for a value no run can use.
    """

    source: str
    output: Path
    model: str = "completion"
    region: str = PREDICTED
    region_model: str | None = None
    save_region: bool = False
    preview: Path | None = None
    image_format: str = "png"
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is loaded."""
        if self.region not in (PREDICTED, MANIFEST) and not Path(self.region).is_dir():
            raise InputError(
                f"--region {self.region!r}: expected predicted, manifest or a folder of PNGs"
            )
        if self.image_format not in ("png", "jpg"):
            raise InputError(f"--format {self.image_format!r}: expected png, jpg")
        if self.preview is not None:
            refuse_existing(self.preview, force=self.run.force or self.run.resume)

    def predictor(self) -> str:
        """Return the region predictor's name or file.

        Raises:
            InputError: a generator that is not there.
            WeightsError: a generator without a readable card.
        """
        if self.region_model is not None:
            return self.region_model
        return self.model if "region" in read_card(self.model)[0].tasks else "region"

    def recipe(self) -> dict[str, Any]:
        """Return the options that shape results, as the run's record keeps them.

        Raises:
            InputError: a model that is not there.
            WeightsError: a model without a readable card.
        """
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


def models_for(task: str | None) -> list[str]:
    """Return the bundled models for a task; all of them for None."""
    return [name for name in BUNDLED if task is None or task in read_card(name)[0].tasks]
