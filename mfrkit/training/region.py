"""Train a mask region predictor: crops in, one model file out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.method import Preset
from mfrkit.methods.region import (
    DisturbOptions,
    RegionOptions,
    RegionTask,
    WornRegionOptions,
    WornRegions,
)
from mfrkit.methods.views import ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.device import compile_in_place
from mfrkit.models.region import RegionNet, RegionPredictor, load_region
from mfrkit.training.checks import RegionCheck
from mfrkit.training.data import Batches, hold_out, open_train_set, told
from mfrkit.training.options import TrainRequest
from mfrkit.training.run import Built, Trained, deal_out, paired_views, run
from mfrkit.training.settings import (
    CardOptions,
    CheckOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
    resolve_settings,
)
from mfrkit.training.world import World

_VIEWS = {
    "gain": 0.15,
    "offset": 0.1,
    "rotation": 5.0,
    "scale": 0.06,
    "shift": 0.03,
    "blur": 0.25,
}
# All kinds but those the check holds out; a quarter of the faces wear none.
_MASKS = {
    "types": "surgical:4,n95:1,cloth:4,sponge:1,window:0.3,gaiter:1,scarf:1,hand:2,rectangle:0.7,"
    "nist-a:0.3,nist-b:0.3,nist-c:0.3,nist-e:0.3,nist-f:0.3",
    "coverage": "above:5,on:2,below:1.5,chin:1",
    "probability": 0.75,
    "jitter": 1.5,
}
_SMALL: Preset = {
    "views": _VIEWS,
    "masks": _MASKS,
    "fit": {
        "epochs": 4.0,
        "batch_size": 48,
        "lr": 2e-3,
        "warmup": 100,
        "precision": "bf16",
        "ema": 0.998,
        "check_every": 500,
    },
}
PRESETS: Mapping[str, Preset] = {
    "small": _SMALL,
    "large": {
        **_SMALL,
        "model": {"widths": (32, 64, 128, 192)},
        "fit": {**_SMALL["fit"], "epochs": 30.0, "batch_size": 256},
    },
}


@dataclass(frozen=True)
class RegionModelOptions:
    """What is trained.

    Attributes:
        init: bundled name or file of the predictor it begins as, whose widths it has; empty for
            one that knows nothing.
        widths: channels at strides 2, 4, 8 and 16.

    Raises:
        InputError: on construction, unless there are two to four positive widths.
    """

    init: str = ""
    widths: tuple[int, ...] = (16, 32, 64, 96)

    def __post_init__(self) -> None:
        if not 2 <= len(self.widths) <= 4 or min(self.widths) < 1:
            raise InputError(f"model.widths {list(self.widths)}: expected two to four numbers")


@dataclass(frozen=True)
class RegionSettings(RunSettings):
    """Every setting of a run, checked.

    Attributes:
        model: what is trained.
        method: weights of the losses.
        views: how faces vary.
        masks: the words behind the masks.
        disturb: what is done to masked faces beyond that.
        real: really masked faces.
        check: what the predictor is measured on.
        fit: of the loop.
        card: of the model.
    """

    model: RegionModelOptions
    method: RegionOptions
    views: ViewOptions
    masks: MaskSettings
    disturb: DisturbOptions
    real: WornRegionOptions
    check: CheckOptions
    fit: FitOptions
    card: CardOptions


resolve = partial(resolve_settings, kind=RegionSettings, presets=PRESETS)
_SIZE = (112, 112)
_REAL_SEED = 2**33  # added to the run's: what is drawn of real faces does not follow the others'


def train_region(request: TrainRequest, console: Console) -> Trained:
    """Train a predictor and write it.

    Raises:
        InputError: unusable options or data, or an output that exists.
        MfrError: a loss was not finite.
    """
    settings = resolve(request)
    return run(request, settings, _build, "train-region", "train a region predictor", console)


def _build(
    request: TrainRequest,
    settings: RegionSettings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    data, held = hold_out(told(open_train_set(request.data), console), settings.check.faces)
    student = _student(settings).to(device)
    show = paired_views(settings.views, device, settings.masks.renderer())
    check = None
    if len(held) and world.writes:
        measured = RegionCheck(
            held.faces,
            size=_SIZE,
            masks=settings.check.masks(settings.masks),
            device=device,
            renderer=settings.masks.renderer(),
        )
        check = partial(measured, student)
    worn, beside = None, {}
    if settings.real.data:
        worn = WornRegions(load_region(settings.real.teacher, device), settings.real)
        beside["real"] = _real_batches(settings, request.seed, world, console)
    return Built(
        task=RegionTask(
            student=student, options=settings.method, changes=settings.disturb, worn=worn
        ),
        network=student.network,
        card=student.card,
        batches=deal_out(data, _SIZE, settings, request.seed, world, beside=beside),
        show=show,
        device=device,
        check=check,
        measure="error of the regions",
    )


def _real_batches(settings: RegionSettings, seed: int, world: World, console: Console) -> Batches:
    """Deal the really masked faces out to steps."""
    data = open_train_set(settings.real.data)
    console.info(f"real: {len(data)} really masked faces")
    return Batches(
        data,
        size=_SIZE,
        views=settings.views,
        masks=MaskOptions(probability=0.0),
        seed=seed + _REAL_SEED,
        batch_size=settings.real.count,
        rank=world.rank,
        world=world.size,
    )


def _student(settings: RegionSettings) -> RegionPredictor:
    if settings.model.init:
        begun = load_region(settings.model.init)
        network, widths = begun.network, list(begun.card.arguments["widths"])
    else:
        widths = list(settings.model.widths)
        network = RegionNet(widths)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place([network])
    card = ModelCard(
        name="region",
        task="region",
        architecture="region",
        arguments={"widths": widths},
        input_size=_SIZE,
        licence="not stated; depends on the data",
        source=f"mfrkit {__version__}",
        paper="Ronneberger et al., U-Net, MICCAI 2015, arXiv:1505.04597",
    )
    return RegionPredictor(network, card).train()
