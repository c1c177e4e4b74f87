"""Build what a distillation works with: teachers, student, method, data, views, checks."""

from dataclasses import dataclass, field, replace
from functools import partial

import torch

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.method import Method, MethodParts, Teachers
from mfrkit.methods.real_masks import OtherViewLoss, PortraitLoss, WornLosses
from mfrkit.models.cards import ModelCard
from mfrkit.models.device import compile_in_place
from mfrkit.models.engine import fused_or_blocked
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser
from mfrkit.training.data import Batches, RawBatch, TrainSet, open_train_set, told
from mfrkit.training.distill_settings import Settings
from mfrkit.training.fit import Check
from mfrkit.training.options import DistillRequest
from mfrkit.training.pair_check import PairCheck
from mfrkit.training.real_faces import open_real, open_unnamed
from mfrkit.training.run import Built, deal_out, paired_views
from mfrkit.training.teacher_cache import TeacherCache, fingerprint, write_cache
from mfrkit.training.world import World


def build(
    method: Method,
    request: DistillRequest,
    settings: Settings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    """Load, build and connect everything a run needs.

    Raises:
        InputError: unusable data, models or options.
        WeightsError: a teacher that does not load.
    """
    data = told(open_train_set(request.data), console)
    recognisers = [load_recogniser(name) for name in request.teachers]
    student = method.student(settings.model, settings.method, recognisers[0])
    size = _common_size([student, *recognisers])
    worn = _really_masked(request, settings, method, recognisers, size, world, console)
    batches = deal_out(data, size, settings, request.seed, world, beside=worn.batches)
    parts = MethodParts(
        student=student,
        teachers=Teachers([_fast(each, device) for each in recognisers]),
        people=data.identities,
        templates_known=request.teacher_cache is not None,
        recognisers=recognisers,
        views=settings.views,
        steps=settings.fit.total_steps(batches.steps_per_epoch),
        really_worn=worn.losses,
    )
    task = method.build(parts, settings.method)  # before the cache: what it refuses costs nothing
    if isinstance(task.student, Recogniser):
        student = task.student  # a method may have added to it
    cache = _cache(request, recognisers, data, world, console)
    student.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place(task.compiled())
    views = paired_views(settings.views, device, settings.masks.renderer())

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


@dataclass
class _ReallyMasked:
    """What the faces are that really wear masks, if there are any, and what they are held to."""

    batches: dict[str, Batches] = field(default_factory=dict)
    losses: WornLosses = field(default_factory=WornLosses)


def _really_masked(
    request: DistillRequest,
    settings: Settings,
    method: Method,
    teachers: list[Recogniser],
    size: tuple[int, int],
    world: World,
    console: Console,
) -> _ReallyMasked:
    """Find the really masked faces and embed what they are held to."""
    found, workers, seed = _ReallyMasked(), request.run.threads, request.seed
    for option, sources in (("--real", request.real), ("--unnamed", request.unnamed)):
        if sources and not method.takes_real:
            raise InputError(f"{option}: method {request.method} takes no really masked faces")
    if request.real:
        real = open_real(request.real, settings.real, size)
        console.info(f"real: {real.summary}")
        found.batches["real"] = real.batches(settings.real, settings.views, size, seed, world)
        found.losses.real = PortraitLoss(real.templates(teachers, workers), settings.real)
    if request.unnamed:
        unnamed = open_unnamed(request.unnamed)
        console.info(f"unnamed: {unnamed.summary}")
        found.batches["unnamed"] = unnamed.batches(
            settings.unnamed, settings.views, settings.masks.parsed(), size, seed, world
        )
        found.losses.unnamed = OtherViewLoss(unnamed.anchors(teachers, workers), settings.unnamed)
    return found


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
    check = PairCheck(
        request.pairs,
        crops,
        masks=masks,
        workers=request.run.threads,
        renderer=settings.masks.renderer(),
    )
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
        write_cache(path, recognisers, data, request.run.threads, console)
    world.wait()
    if not path.exists():
        return None  # a dry run makes none
    return TeacherCache(path, fingerprint(recognisers, data))
