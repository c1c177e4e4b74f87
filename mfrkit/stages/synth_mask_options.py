"""The options of `mfrkit synth-mask`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfrkit.config import RunOptions
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing
from mfrkit.io.pairs import read_pairs
from mfrkit.masks.catalog import OWN, TEMPLATE, WORN
from mfrkit.masks.options import MaskOptions

REGIONS = ("soft", "exact", "both", "none")
DETECTORS = ("auto", "yunet", "mtcnn", "face-alignment", "none")
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
            ("--detector", self.detector, DETECTORS),
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
