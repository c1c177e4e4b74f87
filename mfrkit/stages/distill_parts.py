"""Build what a distillation works with: teachers, student, method, data, views, checks."""

from dataclasses import replace
from functools import partial

import torch

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.real_masks import PortraitLoss
from mfrkit.models.cards import ModelCard
from mfrkit.models.compiled import compile_in_place
from mfrkit.models.engine import fused_or_blocked
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.recognisers import load_recogniser
from mfrkit.models.teachers import Teachers
from mfrkit.stages.distill_settings import DistillRequest, Settings
from mfrkit.stages.fit import Check
from mfrkit.stages.method import Method, MethodParts
from mfrkit.stages.real_faces import RealFaces, open_real
from mfrkit.stages.teacher_cache import TeacherCache, fingerprint, write_cache
from mfrkit.stages.train_check import PairCheck
from mfrkit.stages.train_data import RawBatch, TrainSet, open_train_set
from mfrkit.stages.train_parts import Built, deal_out, paired_views
from mfrkit.stages.world import World


def build(
    request: DistillRequest,
    settings: Settings,
    method: Method,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    """Load, build and connect everything a run needs.

    Raises:
        InputError: unusable data, models or options.
        WeightsError: a teacher that does not load.
    """
    data = open_train_set(request.data)
    if data.skipped:
        console.info(f"data: {len(data)} crops, {data.tally.losses}")
    recognisers = [load_recogniser(name) for name in request.teachers]
    student = method.student(settings.model, settings.method, recognisers[0])
    size = _common_size([student, *recognisers])
    real = _real(request, settings, method, size, console)
    beside = None
    if real is not None:
        beside = real.batches(settings.real, settings.views, size, request.seed, world)
    batches = deal_out(data, size, settings, request.seed, world, beside=beside)
    parts = MethodParts(
        student=student,
        teachers=Teachers([_fast(each, device) for each in recognisers]),
        people=data.identities,
        templates_known=request.teacher_cache is not None,
        recognisers=recognisers,
        views=settings.views,
        steps=settings.fit.total_steps(batches.steps_per_epoch),
        real=None
        if real is None
        else PortraitLoss(real.templates(recognisers, request.run.workers), settings.real),
        rank=world.rank,
        processes=world.size,
    )
    task = method.build(parts, settings.method)  # before the cache: what it refuses costs nothing
    if isinstance(task.student, Recogniser):
        student = task.student  # a method may have added to it
    cache = _cache(request, recognisers, data, world, console)
    student.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place(task.compiled())
    views = paired_views(settings.views, device)

    def show(raw: RawBatch) -> FaceBatch:
        batch = views(raw)
        if cache is None:
            return batch
        known = cache(raw.index), cache.centres(raw.index)
        return batch.with_templates(*(each.to(device) for each in known))

    return Built(
        task=task.to(device),
        network=student.network,
        card=_card(request, method, student),
        batches=batches,
        show=show,
        device=device,
        check=_pair_check(request, settings, student) if world.writes else None,
        measure="mean EER",
    )


def _real(
    request: DistillRequest,
    settings: Settings,
    method: Method,
    size: tuple[int, int],
    console: Console,
) -> RealFaces | None:
    """Find the really masked faces, if any are named."""
    if not request.real:
        return None
    if not method.takes_real:
        raise InputError(f"--real: method {request.method} does not take really masked faces")
    real = open_real(request.real, settings.real, size)
    console.info(f"real: {real.summary}")
    return real


def _card(request: DistillRequest, method: Method, student: Recogniser) -> ModelCard:
    return replace(
        student.card,
        licence="not stated; depends on the data and the teacher",
        source=f"mfrkit {__version__}, distilled from {', '.join(request.teachers)}",
        paper=method.paper,
    )


def _pair_check(request: DistillRequest, settings: Settings, student: Recogniser) -> Check | None:
    """Return the check on pairs, if a list was given."""
    if request.pairs is None:
        return None
    crops = request.pair_crops or request.data[0]
    masks = replace(settings.masks.parsed(), probability=1.0)
    check = PairCheck(request.pairs, crops, masks=masks, workers=request.run.workers)
    return partial(check, student)


def _fast(recogniser: Recogniser, device: torch.device) -> Recogniser:
    """Return a teacher that computes the same faster where there is a way."""
    stand_in = fused_or_blocked(recogniser.network) if device.type == "cpu" else None
    return recogniser if stand_in is None else Recogniser(stand_in, recogniser.card)


def _common_size(recognisers: list[Recogniser]) -> tuple[int, int]:
    sizes = {each.card.input_size or (0, 0) for each in recognisers}
    size = recognisers[0].card.input_size
    if len(sizes) > 1 or size is None:
        raise InputError(f"student and teachers take crops of different sizes: {sorted(sizes)}")
    return size


def _cache(
    request: DistillRequest,
    recognisers: list[Recogniser],
    data: TrainSet,
    world: World,
    console: Console,
) -> TeacherCache | None:
    path = request.teacher_cache
    if path is None:
        return None
    if not path.exists() and world.writes and not request.run.dry_run:
        write_cache(path, recognisers, data, request.run.workers, console)
    world.wait()
    if not path.exists():
        return None  # a dry run makes none
    return TeacherCache(path, fingerprint(recognisers, data))
