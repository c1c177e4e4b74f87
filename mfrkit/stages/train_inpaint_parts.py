"""Build what the training of a completion generator works with."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.methods.completion import FaceCompletion
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.compiled import compile_in_place
from mfrkit.models.completion import Completion
from mfrkit.models.critics import Critics
from mfrkit.models.features import FaceFeatures
from mfrkit.models.recognisers import load_recogniser
from mfrkit.models.registry import build_network, load_network
from mfrkit.models.vgg import load_vgg
from mfrkit.stages.completion_check import CompletionCheck
from mfrkit.stages.holdout import hold_out
from mfrkit.stages.train_data import Batches, TrainSet, open_train_set
from mfrkit.stages.train_inpaint_options import GeneratorOptions, Settings
from mfrkit.stages.train_parts import Built, deal_out, paired_views
from mfrkit.stages.train_request import TrainRequest
from mfrkit.stages.world import World

_PAPER = (
    "Li et al., Look Through Masks, ACM MM 2020, arXiv:2409.12385; Yu et al., Generative Image "
    "Inpainting with Contextual Attention, CVPR 2018, arXiv:1801.07892"
)
_CHECK_SEED = 7  # of the masks the held-out faces wear, the same in every run
_CHECK_BATCH = 16
_LEAST_SIZE = 32


def build(
    request: TrainRequest,
    settings: Settings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    """Load, build and connect everything a run needs.

    Raises:
        InputError: unusable data, models or options.
        WeightsError: a model that does not load.
    """
    data = open_train_set(request.data)
    if data.skipped:
        console.info(f"{data.skipped} inputs were skipped by an earlier stage")
    train, held = hold_out(data, settings.check.faces)
    size = (settings.model.size, settings.model.size)
    batches = deal_out(train, size, settings, request.seed, world)
    generator, arguments = _generator(settings.model)
    looker = _looker(settings.model)
    task = _task(settings, generator, looker, settings.fit.total_steps(batches.steps_per_epoch))
    task.to(device)
    looker.requires_grad_(False).eval().to(device)  # also where no loss needs it: the check does
    show = paired_views(settings.views, device, settings.masks.renderer())
    check = None
    if len(held) and world.writes:
        check = CompletionCheck(generator, _held_batches(held, size, settings), show, looker)
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


def _looker(options: GeneratorOptions) -> FaceFeatures:
    vgg = load_vgg(Path(options.vgg)) if options.vgg else None
    return FaceFeatures(load_recogniser(options.recogniser), vgg)


def _generator(options: GeneratorOptions) -> tuple[Completion, Mapping[str, Any]]:
    """Build the generator, fresh from torch's default generator or as another one is.

    Returns:
        It, and the arguments of its architecture.
    """
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
    settings: Settings, generator: Completion, looker: FaceFeatures, total: int
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


def _held_batches(held: TrainSet, size: tuple[int, int], settings: Settings) -> Batches:
    """Deal out the held-out faces, every one of them masked."""
    masks = replace(settings.masks.parsed(), probability=1.0)
    return Batches(
        held,
        size=size,
        views=ViewOptions(flip=0.0),
        masks=masks,
        seed=_CHECK_SEED,
        batch_size=min(_CHECK_BATCH, len(held)),
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
