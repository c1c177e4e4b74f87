"""Find faces in photos and cut them out: photos in, aligned crops and a manifest out.

This module checks and drives; `mfrkit.stages.align_faces` does the work and loads torch for it, so
that a wrong argument is refused at once.
"""

from dataclasses import dataclass, field
from pathlib import Path

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.stages.run import Process, run_stage
from mfrkit.stages.sink import Tally

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


def align(options: AlignOptions, console: Console) -> Tally:
    """Align every photo of a source.

    Raises:
        InputError: an output that exists, or a detector whose weights are missing.
        PartialError: too many photos gave no face.
    """
    recipe = {
        name: getattr(options, name)
        for name in (
            "detector", "select", "size", "margin", "min_score", "min_size", "image_format",
        )
    }  # fmt: skip
    return run_stage(
        "align",
        options.source,
        options.output,
        recipe,
        options.run,
        console,
        prepare=lambda: _worker(options),
    )


def _worker(options: AlignOptions) -> Process:
    from mfrkit.stages.align_faces import AlignWorker  # torch loads here

    return AlignWorker(options)
