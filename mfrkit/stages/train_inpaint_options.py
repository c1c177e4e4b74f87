"""The resolved options of one training of a completion generator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfrkit.errors import InputError
from mfrkit.methods.completion_options import CompletionOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.presets import Preset, choose
from mfrkit.stages.train_request import (
    CardOptions,
    MaskSettings,
    TrainRequest,
    plain_tables,
    resolve_tables,
)


@dataclass(frozen=True)
class GeneratorOptions:
    """What is trained, and who looks on.

    Attributes:
        network: architecture of the generator.
        init: model file whose weights it starts from; empty for fresh ones.
        size: side of the crops.
        recogniser: bundled name or model file; sees whether a face stays the same person.
        vgg: `.pth` file of torchvision's VGG-16, which then gives the feature maps instead of the
            recogniser; empty for none.
    """

    network: str = "completion-small"
    init: str = ""
    size: int = 112
    recogniser: str = "arcface"
    vgg: str = ""


@dataclass(frozen=True)
class CheckOptions:
    """What the checks during training look at.

    Attributes:
        faces: about how many are held out; at most a tenth of the data is. 0 checks nothing, and
            the last weights are exported.
    """

    faces: int = 128


@dataclass(frozen=True)
class Settings:
    """Every setting of a run, checked.

    Attributes:
        model: what is trained.
        method: what pulls it.
        views: how faces vary; only as both views do, since pixels are compared.
        masks: the words behind the masks; faces without one get a free-form hole.
        fit: of the loop.
        check: of the held-out faces.
        card: of the model.

    Raises:
        InputError: on construction, for views that differ in more than the mask.
    """

    model: GeneratorOptions
    method: CompletionOptions
    views: ViewOptions
    masks: MaskSettings
    fit: FitOptions
    check: CheckOptions
    card: CardOptions

    def __post_init__(self) -> None:
        for name in ("rotation", "scale", "shift", "blur"):
            if getattr(self.views, name):
                raise InputError(f"views.{name} must be 0: the pixels of both views are compared")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain tables, which `--config` reads again."""
        return plain_tables(vars(self))


_TABLES: Mapping[str, type] = {
    "model": GeneratorOptions,
    "method": CompletionOptions,
    "views": ViewOptions,
    "masks": MaskSettings,
    "fit": FitOptions,
    "check": CheckOptions,
    "card": CardOptions,
}

_G2D_FIT = {
    "epochs": 1.0,
    "batch_size": 16,
    "lr": 1e-5,
    "betas": (0.5, 0.9),
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0,
    "check_every": 500,
}

PRESETS: Mapping[str, Preset] = {
    "small": {
        "method": {"looked": 0.25, "variation": 0.5},
        "views": {"gain": 0.1, "offset": 0.05},
        "masks": {"probability": 0.85, "coverage": "above:7,on:2,below:1"},
        "fit": {
            "epochs": 3.0,
            "batch_size": 32,
            "lr": 1e-3,
            "betas": (0.5, 0.99),
            "weight_decay": 0.0,
            "warmup": 100,
            "ema": 0.997,
            "check_every": 500,
        },
    },
    # Phase 1 of G2D: Ge et al., ICML 2024, arXiv:2405.16761, give rate, betas and batch size.
    "g2d": {
        "model": {"init": "completion"},
        "method": {"looked": 0.25, "critic_from": 0.0},
        "views": {"gain": 0.1, "offset": 0.05},
        "masks": {"probability": 0.85, "coverage": "above:7,on:2,below:1"},
        "fit": _G2D_FIT,
    },
    # The same with the generator behind the paper's, ICT's upsampler, and weights of its losses
    # (Wan et al., ICCV 2021, arXiv:2103.14031), which are meant for VGG's maps: name a file of them
    # as model.vgg. Crops of 112 are seen at 256. Starts from fresh weights unless told otherwise.
    "g2d-paper": {
        "model": {"network": "completion-guided"},
        "method": {
            "hole": 1.0,
            "features": 0.1,
            "style": 250.0,
            "identity": 0.0,
            "adversarial": 0.1,
            "critic_from": 0.0,
            "critic_width": 64,
        },
        "masks": {"probability": 1.0},
        "fit": {**_G2D_FIT, "check_every": 5000, "save_every": 1000},
    },
    # Yu et al., CVPR 2018, arXiv:1801.07892 and the configuration published with it, at 256x256;
    # `mfrkit align` makes crops of 224. Its number of steps was for scenes; stop when it is good.
    "paper": {
        "model": {"network": "completion-paper", "size": 224},
        "method": {
            "hole": 1.2,
            "known": 1.2,
            "border": 0.9,
            "features": 0.0,
            "identity": 0.0,
            "adversarial": 1e-3,
            "game": "wasserstein",
            "critic_steps": 5,
            "critic_from": 0.0,
            "critic_width": 64,
        },
        "masks": {"probability": 1.0},
        "fit": {
            "steps": 1_000_000,
            "batch_size": 16,
            "lr": 1e-4,
            "betas": (0.5, 0.9),
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup": 0,
            "clip": 0.0,
            "check_every": 5000,
            "save_every": 1000,
        },
    },
}


def resolve(request: TrainRequest) -> Settings:
    """Lay preset, TOML file, assignments and flags over each other and check the result.

    Raises:
        InputError: an unknown table, name or preset, or a value that cannot be used.
    """
    preset = choose("preset", request.preset, PRESETS)
    return Settings(**resolve_tables(request, preset, _TABLES))
