"""Teach the mesh network about masks: crops in, one model file out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.masks.kinds import BARE
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.landmarks import LandmarkOptions, LandmarkTask, Teacher
from mfrkit.methods.method import Preset
from mfrkit.methods.realign import WIDE
from mfrkit.methods.views import PairedViews, ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.detectors import FaceMesh
from mfrkit.models.device import compile_in_place
from mfrkit.models.registry import load_network
from mfrkit.training.checks import LandmarkCheck
from mfrkit.training.crops import JoinedFaces, read_wide
from mfrkit.training.data import RawBatch, TrainSet, hold_out, open_train_set, told
from mfrkit.training.options import TrainRequest
from mfrkit.training.region import PRESETS as REGION
from mfrkit.training.run import Built, Trained, deal_out, run
from mfrkit.training.settings import (
    CardOptions,
    CheckOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
    resolve_settings,
)
from mfrkit.training.world import World

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
class RealFaceSources:
    """Faces that are really masked.

    Attributes:
        data: sources of their crops.
    """

    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class LandmarkCheckOptions(CheckOptions):
    """What the network is measured on while it trains."""

    faces: int = 192


@dataclass(frozen=True)
class LandmarkSettings(RunSettings):
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
    real: RealFaceSources
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


resolve = partial(resolve_settings, kind=LandmarkSettings, presets=PRESETS)


def train_landmarks(request: TrainRequest, console: Console) -> Trained:
    """Train a mesh network and write it.

    Raises:
        InputError: unusable options or data, or an output that exists.
        WeightsError: the network to begin with does not load.
        MfrError: a loss was not finite.
    """
    settings = resolve(request)
    what = "teach a mesh network about masks"
    return run(request, settings, _build, "train-landmarks", what, console)


def _build(
    request: TrainRequest,
    settings: LandmarkSettings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    bare, held = hold_out(open_train_set(request.data), settings.check.faces)
    data = told(_with_real(bare, settings.real.data), console)
    student, card = _network(settings.model.start, device)
    teacher = Teacher(_network(settings.model.start, device)[0])
    if settings.fit.compile:
        compile_in_place([student])
    views = PairedViews(renderer=settings.masks.renderer()).to(device)

    def show(raw: RawBatch) -> FaceBatch:
        crops, points, label = (each.to(device) for each in (raw.crops, raw.points, raw.label))
        draws = [
            draw if place < len(bare) else replace(draw, spec=replace(draw.spec, kind=BARE))
            for draw, place in zip(raw.draws, raw.index.tolist(), strict=True)
        ]
        return views(crops, points, label, raw.index.to(device), draws)

    check = None
    if len(held) and world.writes:
        measured = LandmarkCheck(
            held.faces,
            teacher=teacher,
            masks=settings.check.masks(settings.masks),
            jitter=settings.method.detector,
            device=device,
            renderer=settings.masks.renderer(),
        )
        check = partial(measured, student)
    return Built(
        task=LandmarkTask(
            student=student, teacher=teacher, options=settings.method, real_from=len(bare)
        ).to(device),
        network=student,
        card=card,
        batches=deal_out(data, (WIDE, WIDE), settings, request.seed, world, read_wide),
        show=show,
        device=device,
        check=check,
        measure="upper vertices, of the distance between the eyes",
    )


def _with_real(bare: TrainSet, sources: tuple[str, ...]) -> TrainSet:
    """Append really masked faces."""
    if not sources:
        return bare
    real = open_train_set(sources)
    bare.tally.reasons.update(real.tally.reasons)
    return replace(bare, faces=JoinedFaces([bare.faces, real.faces]))


def _network(model: str, device: torch.device) -> tuple[FaceMesh, ModelCard]:
    network, card = load_network(model, device)
    if not isinstance(network, FaceMesh):
        raise InputError(f"{model}: is a {card.architecture}, no mesh network to begin with")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, card
