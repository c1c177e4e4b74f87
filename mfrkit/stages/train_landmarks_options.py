"""The settings of `mfrkit train-landmarks`, and its preset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.landmarks import LandmarkOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.presets import Preset, choose
from mfrkit.stages.train_region_options import PRESETS as REGION
from mfrkit.stages.train_request import (
    CardOptions,
    MaskSettings,
    TrainRequest,
    plain_tables,
    resolve_tables,
)

PRESETS: Mapping[str, Preset] = {
    "small": {
        "views": {"gain": 0.15, "offset": 0.08, "blur": 0.2},
        "masks": REGION["small"]["masks"],  # not those of the check; a quarter of the faces bare
        "fit": {
            "epochs": 6.0,
            "batch_size": 48,
            "lr": 4e-4,
            "warmup": 50,
            "ema": 0.998,
            "check_every": 250,
        },
    }
}


@dataclass(frozen=True)
class LandmarkModelOptions:
    """What is trained.

    Attributes:
        start: bundled name or file of the network it begins as, which is its teacher too.
    """

    start: str = "facemesh"


@dataclass(frozen=True)
class RealOptions:
    """Faces that are really masked.

    Attributes:
        data: sources of their crops.
    """

    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class LandmarkCheckOptions:
    """What the network is measured on while it trains.

    Attributes:
        faces: about how many are held out of the training, at most a tenth, whole people; 0 for
            no check.
        types: kinds of mask to measure beside those of `masks.types`, normally none of them.

    Raises:
        InputError: on construction, for unknown kinds or a negative number.
    """

    faces: int = 192
    types: str = "kn95,valve,bandana,nist-d,maskinv"

    def __post_init__(self) -> None:
        if self.faces < 0:
            raise InputError(f"check.faces must not be negative, not {self.faces}")
        self.parsed()

    def parsed(self) -> MaskOptions:
        """Return what may be drawn."""
        return MaskOptions.parse(types=self.types)


@dataclass(frozen=True)
class LandmarkSettings:
    """Every setting of a run, checked.

    Attributes:
        model: what is trained.
        real: really masked faces.
        method: weights of the losses, and where the network looks.
        views: how faces vary.
        masks: the words behind the masks.
        check: what the network is measured on.
        fit: of the loop.
        card: of the model.

    Raises:
        InputError: on construction, for views that would move the masked face off its bare twin.
    """

    model: LandmarkModelOptions
    real: RealOptions
    method: LandmarkOptions
    views: ViewOptions
    masks: MaskSettings
    check: LandmarkCheckOptions
    fit: FitOptions
    card: CardOptions

    def __post_init__(self) -> None:
        if self.views.rotation or self.views.scale or self.views.shift:
            raise InputError(
                "views.rotation, scale and shift must be 0: the mesh of a masked face is that of "
                "its bare twin; method.turn, scale and shift move what the network is shown"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain tables, which `--config` reads again."""
        return plain_tables(vars(self))


_TABLES: Mapping[str, type] = {
    "model": LandmarkModelOptions,
    "real": RealOptions,
    "method": LandmarkOptions,
    "views": ViewOptions,
    "masks": MaskSettings,
    "check": LandmarkCheckOptions,
    "fit": FitOptions,
    "card": CardOptions,
}


def resolve(request: TrainRequest) -> LandmarkSettings:
    """Lay preset, TOML file, assignments and flags over each other and check the result.

    Raises:
        InputError: an unknown table, name or preset, or a value that cannot be used.
    """
    preset = choose("preset", request.preset, PRESETS)
    return LandmarkSettings(**resolve_tables(request, preset, _TABLES))
