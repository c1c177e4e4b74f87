"""Build what a distillation works with: teachers, student, method, data, views, checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.methods.base import Task
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.views import PairedViews
from mfrkit.models.compiled import compile_in_place
from mfrkit.models.onednn import BlockedMobileFaceNet, is_supported
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.registry import load_recogniser
from mfrkit.models.teachers import Teachers
from mfrkit.stages.distill_curriculum import GrowingMasks
from mfrkit.stages.distill_methods import METHODS, MethodParts
from mfrkit.stages.distill_options import DistillRequest, Settings
from mfrkit.stages.fit import FitParts
from mfrkit.stages.students import build_student
from mfrkit.stages.teacher_cache import TeacherCache, fingerprint, write_cache
from mfrkit.stages.train_check import PairCheck
from mfrkit.stages.train_data import Batches, RawBatch, TrainSet, open_train_set
from mfrkit.stages.world import World

_TIMED_STEPS = 3


@dataclass(frozen=True)
class Built:
    """The finished parts.

    Attributes:
        task: the method.
        student: inside it.
        batches: the data.
        show: makes views, on the device.
        device: of the networks.
        paper: of the method.
    """

    task: Task
    student: Recogniser
    batches: Batches
    show: Callable[[RawBatch], FaceBatch]
    device: torch.device
    paper: str

    def parameters(self) -> dict[str, int]:
        """Count the trained values of the task's parts."""
        return {
            name: sum(p.numel() for p in part.parameters() if p.requires_grad)
            for name, part in self.task.named_children()
            if any(p.requires_grad for p in part.parameters())
        }

    def seconds_per_step(self) -> float:
        """Time the first step of the run, without the optimiser's part."""
        self.task.train()
        batch = self.show(self.batches.load(0))
        times = []
        for _ in range(1 + _TIMED_STEPS):
            started = perf_counter()
            for _name, losses in self.task.steps(batch):
                losses["loss"].backward()
            times.append(perf_counter() - started)
        return sum(times[1:]) / _TIMED_STEPS  # the first pays for compiling and for memory


def build(
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
    data = open_train_set(request.data)
    if data.skipped:
        console.info(f"data: {len(data)} crops, {data.tally.losses}")
    recognisers = [load_recogniser(name) for name in request.teachers]
    student = build_student(settings.model, recognisers[0])
    size = _common_size([student, *recognisers])
    batches = _batches(request, settings, data, size, world)
    method = METHODS[request.method]
    parts = MethodParts(
        student=student,
        teachers=Teachers([_fast(each, device) for each in recognisers]),
        identities=len(data.identities),
        templates_known=request.teacher_cache is not None,
        world=world,
    )
    task = method.build(parts, settings.method)  # before the cache: what it refuses costs nothing
    cache = _cache(request, recognisers, data, world, console)
    student.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place(student.network)
    views = PairedViews().to(device)

    def show(raw: RawBatch) -> FaceBatch:
        batch = views(
            raw.crops.to(device),
            raw.points.to(device),
            raw.label.to(device),
            raw.index,
            raw.draws,
        )
        return batch if cache is None else batch.with_template(cache(raw.index).to(device))

    return Built(task.to(device), student, batches, show, device, method.paper)


def fit_parts(
    request: DistillRequest,
    settings: Settings,
    built: Built,
    world: World,
    keep: Callable[[Mapping[str, Tensor], Mapping[str, float]], None],
    folder: Path,
) -> FitParts:
    """Hand the parts to the loop, with the check on pairs if a list was given."""
    workers = request.run.workers
    check = None
    if request.pairs is not None and world.writes:
        crops = request.pair_crops or request.data[0]
        masks = replace(settings.masks.parsed(), probability=1.0)
        pair_check = PairCheck(request.pairs, crops, masks=masks, workers=workers)

        def check(weights: Mapping[str, Tensor]) -> dict[str, float]:
            return pair_check(built.student, weights)

    return FitParts(
        task=built.task,
        batches=built.batches,
        show=built.show,
        check=check,
        keep=keep,
        folder=folder,
        device=built.device,
        workers=workers,
    )


def _batches(
    request: DistillRequest, settings: Settings, data: TrainSet, size: tuple[int, int], world: World
) -> Batches:
    """Deal the data out, with the masks' curriculum if there is one."""
    deal: Callable[..., Batches] = Batches
    if settings.masks.growth:
        deal = partial(GrowingMasks, growth=settings.masks.growth, fit=settings.fit)
    return deal(
        data,
        size=size,
        views=settings.views,
        masks=settings.masks.parsed(),
        seed=request.seed,
        batch_size=settings.fit.batch_size,
        rank=world.rank,
        world=world.size,
    )


def _fast(recogniser: Recogniser, device: torch.device) -> Recogniser:
    """Return a teacher that computes the same faster where there is a way."""
    if device.type == "cpu" and is_supported(recogniser.network):
        return Recogniser(BlockedMobileFaceNet(recogniser.network), recogniser.card)
    return recogniser


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
