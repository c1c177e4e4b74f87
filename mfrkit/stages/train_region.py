"""Train a mask region predictor: crops in, one model file out."""

import hashlib
from dataclasses import replace
from functools import partial

import torch

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.region import RegionTask
from mfrkit.methods.views import PairedViews
from mfrkit.models.cards import ModelCard
from mfrkit.models.compiled import compile_in_place
from mfrkit.models.region import RegionNet, RegionPredictor
from mfrkit.stages.region_check import RegionCheck
from mfrkit.stages.train_data import Batches, RawBatch, TrainFace, TrainSet, open_train_set
from mfrkit.stages.train_parts import Built
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
    data, held = split(open_train_set(request.data), settings.check.faces)
    if data.skipped:
        console.info(f"{data.skipped} inputs were skipped by an earlier stage")
    student = _student(settings).to(device)
    masks = settings.masks.parsed()
    views = PairedViews().to(device)

    def show(raw: RawBatch) -> FaceBatch:
        crops, points, label = (each.to(device) for each in (raw.crops, raw.points, raw.label))
        return views(crops, points, label, raw.index, raw.draws)

    check = None
    if held and world.writes:
        seen, unseen = replace(masks, probability=1.0), settings.check.parsed()
        check = partial(RegionCheck(held, seen=seen, unseen=unseen, device=device), student)
    return Built(
        task=RegionTask(student=student, options=settings.method, changes=settings.disturb),
        network=student.network,
        card=student.card,
        batches=Batches(
            data,
            size=_SIZE,
            views=settings.views,
            masks=masks,
            seed=request.seed,
            batch_size=settings.fit.batch_size,
            rank=world.rank,
            world=world.size,
        ),
        show=show,
        device=device,
        check=check,
        measure="error of the regions",
    )


def _student(settings: RegionSettings) -> RegionPredictor:
    widths = list(settings.model.widths)
    network = RegionNet(widths).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place(network)
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


def split(data: TrainSet, count: int) -> tuple[TrainSet, list[TrainFace]]:
    """Hold faces out of the training, the same ones in every run.

    Args:
        data: all faces.
        count: how many to hold out; somewhat more where people have several photos, because all
            photos of a person go the same way, and so does a face that is named twice.

    Returns:
        The rest, and those held out.

    Raises:
        InputError: nothing is left to train on.
    """
    if not count:
        return data, []
    order = [_lot(face) for face in data.faces]
    last = sorted(order)[:count][-1]
    held = [face for face, lot in zip(data.faces, order, strict=True) if lot <= last]
    rest = [face for face, lot in zip(data.faces, order, strict=True) if lot > last]
    if not rest:
        raise InputError(
            f"{len(data)} crops are too few to hold {count} out; --set check.faces=0 trains on all"
        )
    return replace(data, faces=rest), held


def _lot(face: TrainFace) -> bytes:
    """Return what decides who is held out: chance, but always the same for the same person."""
    name = face.record.identity or face.record.key
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
