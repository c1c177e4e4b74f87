"""Train a mask region predictor: crops in, one model file out."""

from dataclasses import replace
from functools import partial

import torch

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.methods.region import RegionTask
from mfrkit.models.cards import ModelCard
from mfrkit.models.compiled import compile_in_place
from mfrkit.models.region import RegionNet, RegionPredictor
from mfrkit.stages.holdout import hold_out
from mfrkit.stages.region_check import RegionCheck
from mfrkit.stages.train_data import open_train_set
from mfrkit.stages.train_parts import Built, deal_out, paired_views
from mfrkit.stages.train_region_options import RegionSettings, resolve
from mfrkit.stages.train_request import TrainRequest
from mfrkit.stages.train_run import Plan, Trained, train
from mfrkit.stages.world import World

_SIZE = (112, 112)


def train_region(request: TrainRequest, console: Console) -> Trained:
    """Train a predictor and write it.

    Raises:
        InputError: unusable options or data, or an output that exists.
        MfrError: a loss was not finite.
    """
    settings = resolve(request)
    tables = settings.to_json()
    plan = Plan(
        command="train-region",
        what="train a region predictor",
        tables=tables,
        recipe={"data": list(request.data), "seed": request.seed, **tables},
        fit=settings.fit,
        card=settings.card,
        build=partial(_build, request, settings),
    )
    return train(request, plan, console)


def _build(
    request: TrainRequest,
    settings: RegionSettings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    data, held = hold_out(open_train_set(request.data), settings.check.faces)
    if data.skipped:
        console.info(f"data: {len(data)} crops, {data.tally.losses}")
    student = _student(settings).to(device)
    show = paired_views(settings.views, device, settings.masks.renderer())
    check = None
    if len(held) and world.writes:
        measured = RegionCheck(
            held.faces,
            size=_SIZE,
            masks={
                "seen": replace(settings.masks.parsed(), probability=1.0),
                "unseen": settings.check.parsed(),
            },
            device=device,
            renderer=settings.masks.renderer(),
        )
        check = partial(measured, student)
    return Built(
        task=RegionTask(student=student, options=settings.method, changes=settings.disturb),
        network=student.network,
        card=student.card,
        batches=deal_out(data, _SIZE, settings, request.seed, world),
        show=show,
        device=device,
        check=check,
        measure="error of the regions",
    )


def _student(settings: RegionSettings) -> RegionPredictor:
    widths = list(settings.model.widths)
    network = RegionNet(widths).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
