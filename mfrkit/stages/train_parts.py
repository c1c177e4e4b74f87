"""The finished parts of a training run, whatever it trains."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mfrkit.masks.renderer import MaskRenderer
from mfrkit.methods.base import Task
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.realign import MeshAligner
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.methods.views import PairedViews
from mfrkit.models.cards import ModelCard
from mfrkit.stages.distill_curriculum import GrowingMasks
from mfrkit.stages.find_faces import load_mesh
from mfrkit.stages.fit import Check, Draw
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.train_data import Batches, RawBatch, Read, TrainSet
from mfrkit.stages.train_request import MaskSettings
from mfrkit.stages.world import World

_TIMED_STEPS = 3


@dataclass(frozen=True)
class Built:
    """The finished parts of a run.

    Attributes:
        task: what is trained.
        network: the bare network inside the task's student, which is exported.
        card: its card, without what the run itself adds.
        batches: the data.
        show: makes views, on the device.
        device: of the networks.
        check: measures weights of the student, or None.
        measure: what the check's error is, in words.
        draw: shows what weights of the student do, or None.
    """

    task: Task
    network: nn.Module
    card: ModelCard
    batches: Batches
    show: Callable[[RawBatch], FaceBatch]
    device: torch.device
    check: Check | None
    measure: str
    draw: Draw | None = None

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

    def bare(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return those of the student's weights that are the network's, by its own names."""
        inside = self.task.student.named_modules()
        prefix = next(f"{name}." if name else "" for name, part in inside if part is self.network)
        return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}


class Varied(Protocol):
    """Settings of a run whose faces vary and wear masks."""

    @property
    def views(self) -> ViewOptions:
        """Return how faces vary."""

    @property
    def masks(self) -> MaskSettings:
        """Return what is drawn on them."""

    @property
    def fit(self) -> FitOptions:
        """Return how long the run is."""


def deal_out(
    data: TrainSet,
    size: tuple[int, int],
    settings: Varied,
    seed: int,
    world: World,
    read: Read | None = None,
    beside: Mapping[str, Batches] | None = None,
) -> Batches:
    """Deal the data out to steps, with the masks' curriculum if there is one.

    Args:
        data: the crops.
        size: (height, width) they must have.
        settings: of the run.
        seed: of order and views.
        world: the processes of the run.
        read: see `Batches`.
        beside: of other data sets, of which each step takes a batch too, by name.

    Raises:
        InputError: fewer crops than processes.
    """
    deal: Callable[..., Batches] = Batches
    if settings.masks.growth:
        deal = partial(GrowingMasks, growth=settings.masks.growth, fit=settings.fit)
    return deal(
        data,
        size=size,
        views=settings.views,
        masks=settings.masks.parsed(),
        seed=seed,
        batch_size=settings.fit.batch_size,
        rank=world.rank,
        world=world.size,
        read=read,
        beside=beside,
    )


def paired_views(
    options: ViewOptions, device: torch.device, renderer: MaskRenderer | None = None
) -> Callable[[RawBatch], FaceBatch]:
    """Return what makes both views of the faces of a step, and those beside, on a device."""
    aligner = None
    if options.align == "mesh":
        aligner = MeshAligner(*load_mesh(device), options.looks)
    views = PairedViews(aligner, renderer).to(device)

    def show(raw: RawBatch) -> FaceBatch:
        shown: FaceBatch = views(
            raw.crops.to(device),
            raw.points.to(device),
            raw.label.to(device),
            raw.index,
            raw.draws,
            raw.landmarks.to(device),
            raw.turns.to(device),
            None if raw.context is None else raw.context.to(device),
        )
        beside: dict[str, Any] = {name: show(other) for name, other in raw.beside.items()}
        return replace(shown, **beside)

    return show
