"""The options of `mfrkit align`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfrkit.config import RunOptions
from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.io.clips import Every
from mfrkit.io.files import refuse_existing
from mfrkit.io.pairs import read_pairs

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
        recipe["every"] = str(self.every)
        recipe["min_score"] = self.least_score
        return recipe | ({} if self.only is None else {"only": read_pairs(self.only).images()})


def _by_default(detector: str) -> str:
    return "five" if detector == "face-alignment" else "mesh"
