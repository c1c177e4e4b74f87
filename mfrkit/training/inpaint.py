"""Train a completion generator: crops in, one model file out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from mfrkit import __version__
from mfrkit.config import TEACHER
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.methods.completion import CompletionOptions, FaceCompletion
from mfrkit.methods.method import Preset
from mfrkit.methods.views import ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.completion import Completion
from mfrkit.models.contextual import Critics
from mfrkit.models.device import compile_in_place
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import FaceFeatures
from mfrkit.models.registry import build_network, load_network
from mfrkit.training.checks import CompletionCheck
from mfrkit.training.data import Batches, hold_out, open_train_set, told
from mfrkit.training.options import TrainRequest
from mfrkit.training.run import Built, Trained, deal_out, paired_views, run
from mfrkit.training.settings import (
    CardOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
    resolve_settings,
)
from mfrkit.training.world import World


@dataclass(frozen=True)
class GeneratorOptions:
    """What is trained, and who looks on.

    Attributes:
        init: model file whose weights it starts from; empty for fresh ones.
        size: side of the crops.
        recogniser: bundled name or model file; sees whether a face stays the same person.
    """

    network: str = "completion-small"
    init: str = ""
    size: int = 112
    recogniser: str = TEACHER


@dataclass(frozen=True)
class CompletionCheckOptions:
    """What the checks during training look at.

    Attributes:
        faces: about how many are held out; at most a tenth of the data is. 0 checks nothing, and
            the last weights are exported.
    """

    faces: int = 128


@dataclass(frozen=True)
class InpaintSettings(RunSettings):
    """Every setting of a run, checked.

    Raises:
        InputError: on construction, for views that differ in more than the mask.
    """

    model: GeneratorOptions
    method: CompletionOptions
    views: ViewOptions
    masks: MaskSettings
    fit: FitOptions
    check: CompletionCheckOptions
    card: CardOptions

    def __post_init__(self) -> None:
        for name in ("rotation", "scale", "shift", "blur"):
            if getattr(self.views, name):
                raise InputError(f"views.{name} must be 0: the pixels of both views are compared")


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
    # (Wan et al., ICCV 2021, arXiv:2103.14031), which are meant for VGG's maps; here
    # the recogniser's stand for them. Crops of 112 are seen at 256. Starts from fresh weights
    # unless told otherwise.
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


resolve = partial(resolve_settings, kind=InpaintSettings, presets=PRESETS)
_PAPER = (
    "Li et al., Look Through Masks, ACM MM 2020, arXiv:2409.12385; Yu et al., Generative Image "
    "Inpainting with Contextual Attention, CVPR 2018, arXiv:1801.07892"
)
_CHECK_SEED = 7  # of the masks the held-out faces wear, the same in every run
_CHECK_BATCH = 16
_LEAST_SIZE = 32


def build(
    request: TrainRequest,
    settings: InpaintSettings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    """Load, build and connect everything a run needs."""
    train, held = hold_out(told(open_train_set(request.data), console), settings.check.faces)
    size = (settings.model.size, settings.model.size)
    batches = deal_out(train, size, settings, request.seed, world)
    generator, arguments = _generator(settings.model)
    looker = FaceFeatures(load_recogniser(settings.model.recogniser))
    task = _task(settings, generator, looker, settings.fit.total_steps(batches.steps_per_epoch))
    task.to(device)
    looker.requires_grad_(False).eval().to(device)  # also where no loss needs it: the check does
    show = paired_views(settings.views, device, settings.masks.renderer())
    check = None
    if len(held) and world.writes:
        held_batches = Batches(
            held,
            size=size,
            views=ViewOptions(flip=0.0),
            masks=settings.masks.always(),
            seed=_CHECK_SEED,
            batch_size=min(_CHECK_BATCH, len(held)),
        )
        check = CompletionCheck(generator, held_batches, show, looker)
    return Built(
        task=task,
        network=generator,
        card=_card(settings.model, arguments),
        batches=batches,
        show=show,
        device=device,
        check=check,
        measure="feature distance",
        draw=None if check is None else check.draw,
    )


def _generator(options: GeneratorOptions) -> tuple[Completion, Mapping[str, Any]]:
    """Build the generator, fresh or as another one is; returns its architecture's arguments too."""
    if options.init:
        network, card = load_network(options.init)
        if card.architecture != options.network:
            raise InputError(
                f"model.init {options.init}: is {card.architecture}, not {options.network}"
            )
        arguments = card.arguments
    else:
        network, arguments = build_network(options.network, {}), {}
    if not isinstance(network, Completion):
        raise InputError(f"model.network {options.network!r}: is no completion generator")
    if options.size < _LEAST_SIZE or options.size % network.multiple:
        raise InputError(
            f"model.size must be a multiple of {network.multiple} from {_LEAST_SIZE}, "
            f"not {options.size}"
        )
    return network, arguments


def _task(
    settings: InpaintSettings, generator: Completion, looker: FaceFeatures, total: int
) -> FaceCompletion:
    options = settings.method
    critics = None
    if options.adversarial:
        spectral = options.game == "hinge"
        critics = Critics(settings.model.size, options.critic_width, spectral=spectral)
    networks: list[nn.Module] = [generator, looker, *([] if critics is None else [critics])]
    for network in networks:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place(networks)
    return FaceCompletion(
        generator=generator,
        critics=critics,
        looker=looker if options.looks else None,
        options=options,
        critic_start=round(options.critic_from * total),
    )


def _card(options: GeneratorOptions, arguments: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        name="completion",
        task="completion",
        architecture=options.network,
        arguments=arguments,
        input_size=(options.size, options.size),
        licence="not stated; depends on the data",
        source=f"mfrkit {__version__}, trained with {options.recogniser} looking on",
        paper=_PAPER,
    )


def train_inpaint(request: TrainRequest, console: Console) -> Trained:
    """Train a generator and write it; errors as those of `run`."""
    settings = resolve(request)
    what = f"train {settings.model.network}"
    return run(request, settings, build, "train-inpaint", what, console)
