"""The options of `mfrkit inpaint`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfrkit.config import RunOptions
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing
from mfrkit.models.model_files import read_card

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
