"""The options of `mfrkit align`."""

from dataclasses import dataclass, field
from pathlib import Path

from mfrkit.config import RunOptions
from mfrkit.errors import InputError
from mfrkit.faces.geometry import template

DETECTORS = ("mtcnn", "face-alignment", "none")
SELECTIONS = ("center", "largest", "all")
FORMATS = ("png", "jpg")


@dataclass(frozen=True)
class AlignOptions:
    """What to align, and how.

    Attributes:
        source: SRC.
        output: folder to write.
        detector: `mtcnn`, `face-alignment`, or `none` for crops that are aligned already.
        select: which faces of a photo: `center` (large and near the middle), `largest` or `all`.
        size: side of a crop, a multiple of 112 pixels.
        margin: extra context on each side, in sides of the plain crop.
        min_score: least detector score, [0, 1].
        min_size: least height of a face in the photo, pixels.
        image_format: `png` or `jpg`.
        only: pair list; photos it does not name are passed over. None takes all.
        run: how the run is sized and continued.

    Raises:
        InputError: on construction, for a value no run can use.
    """

    source: str
    output: Path
    detector: str = "mtcnn"
    select: str = "center"
    size: int = 112
    margin: float = 0.0
    min_score: float = 0.7
    min_size: int = 40
    image_format: str = "png"
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
        if not 0 <= self.min_score <= 1:
            raise InputError(f"--min-score {self.min_score}: expected 0 to 1")
        if self.min_size < 12:
            raise InputError(f"--min-size {self.min_size}: expected at least 12 pixels")
