"""Teach the mesh network about masks: crops in, one model file out."""

from dataclasses import replace
from functools import partial

import torch

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.masks.catalog import BARE
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.landmarks import LandmarkTask, Teacher
from mfrkit.methods.looks import WIDE
from mfrkit.methods.views import PairedViews
from mfrkit.models.cards import ModelCard
from mfrkit.models.compiled import compile_in_place
from mfrkit.models.facemesh import FaceMesh
from mfrkit.models.registry import load_network
from mfrkit.stages.holdout import hold_out
from mfrkit.stages.landmark_check import LandmarkCheck
from mfrkit.stages.train_data import RawBatch, TrainSet, open_train_set
from mfrkit.stages.train_faces import JoinedFaces
from mfrkit.stages.train_landmarks_options import LandmarkSettings, resolve
from mfrkit.stages.train_parts import Built, deal_out
from mfrkit.stages.train_request import TrainRequest
from mfrkit.stages.train_run import Plan, Trained, train
from mfrkit.stages.wide_crops import read_wide
from mfrkit.stages.world import World


def train_landmarks(request: TrainRequest, console: Console) -> Trained:
    """Train a mesh network and write it.

    Raises:
        InputError: unusable options or data, or an output that exists.
        WeightsError: the network to begin with does not load.
        MfrError: a loss was not finite.
    """
    settings = resolve(request)
    tables = settings.to_json()
    plan = Plan(
        command="train-landmarks",
        what="teach a mesh network about masks",
        tables=tables,
        recipe={"data": list(request.data), "seed": request.seed, **tables},
        fit=settings.fit,
        card=settings.card,
        build=partial(_build, request, settings),
    )
    return train(request, plan, console)


def _build(
    request: TrainRequest,
    settings: LandmarkSettings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    bare, held = hold_out(open_train_set(request.data), settings.check.faces)
    data = _with_real(bare, settings.real.data)
    if data.skipped:
        console.info(f"data: {len(data)} crops, {data.tally.losses}")
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
            masks={
                "seen": replace(settings.masks.parsed(), probability=1.0),
                "unseen": settings.check.parsed(),
            },
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
