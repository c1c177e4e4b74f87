"""Complete what covers faces: masked crops in, completed ones and a manifest out.

This module checks and drives; `mfrkit.stages.complete_faces` does the work and loads torch for it,
so that a wrong argument is refused at once.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing
from mfrkit.models.model_files import read_card
from mfrkit.stages.run import Process, run_stage
from mfrkit.stages.sink import Tally

if TYPE_CHECKING:
    from mfrkit.stages.contact_sheet import Cell

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


def inpaint(options: InpaintOptions, console: Console) -> Tally:
    """Complete every masked face of a source; faces found unmasked pass through as they are.

    Raises:
        InputError: an unusable model, or an output that exists.
        WeightsError: a model file that is damaged.
        PartialError: too many inputs were skipped.
    """
    pairs: dict[int, tuple[Cell, Cell]] = {}
    passed: Counter[bool] = Counter()

    def prepare() -> Process:
        from mfrkit.stages.complete_faces import CompletionWorker  # torch loads here

        return CompletionWorker(options, pairs, passed)

    tally = run_stage(
        "inpaint",
        options.source,
        options.output,
        options.recipe(),
        options.run,
        console,
        prepare=prepare,
    )
    if passed[False]:
        console.info(f"{passed[False]} faces are unmasked and passed through unchanged")
    if options.preview is not None and pairs:
        from mfrkit.stages.contact_sheet import write_contact_sheet

        cells = [cell for _, pair in sorted(pairs.items()) for cell in pair]
        write_contact_sheet(options.preview, cells, columns=8, heading="before and after")
        console.info(f"preview -> {options.preview}")
    return tally
