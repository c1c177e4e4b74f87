"""One training run, whatever it trains: its parts, its folder, and the model file at its end.

Beside the model lies the run's folder: its settings, checkpoints, history and TensorBoard events.
"""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mfrkit.console import Console
from mfrkit.errors import MfrError, Terminated
from mfrkit.io.checkpoints import save_model
from mfrkit.io.files import held, hidden_name, refuse_existing
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.methods.base import FaceBatch, Task
from mfrkit.methods.realign import MeshAligner
from mfrkit.methods.views import PairedViews, ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.device import resolve_device, send
from mfrkit.models.registry import load_network, save_network
from mfrkit.stages.find_faces import load_mesh
from mfrkit.training.data import Batches, Deal, GrowingMasks, RawBatch, Read, TrainSet
from mfrkit.training.fit import Check, Draw, FitParts, Show, duration, fit
from mfrkit.training.options import TrainRequest
from mfrkit.training.run_folder import claim, command_to_go_on, give_back, is_complete, run_folder
from mfrkit.training.settings import CardOptions, FitOptions, MaskSettings
from mfrkit.training.state import TrainState, checkpoints, steps_of
from mfrkit.training.world import World, is_lost, join_world

_TIMED_STEPS = 3


@dataclass(frozen=True)
class Built:
    """The finished parts of a run.

    Attributes:
        task: what is trained.
        network: the bare network inside the task's student, which is exported.
        card: its card, without what the run itself adds.
        batches: the data.
        show: makes of what the data deal out what the task takes, on the device.
        device: of the networks.
        check: measures weights of the student, or None.
        measure: what the check's error is, in words.
        draw: shows what weights of the student do, or None.
    """

    task: Task
    network: nn.Module
    card: ModelCard
    batches: Deal
    show: Show
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


class Whole(Protocol):
    """All settings of a run."""

    @property
    def fit(self) -> FitOptions:
        """Return how the network is trained."""

    @property
    def card(self) -> CardOptions:
        """Return what the user says of the model."""

    def to_json(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the settings as plain tables."""


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
            send(raw.crops, device),
            raw.points,  # which are placed on the host
            send(raw.label, device),
            raw.index,
            raw.draws,
            raw.landmarks,
            raw.turns,
            None if raw.context is None else raw.context.to(device),
        )
        beside: dict[str, Any] = {name: show(other) for name, other in raw.beside.items()}
        return replace(shown, **beside)

    return show


_BEST = "best.safetensors"


@dataclass(frozen=True)
class Plan:
    """What a training command hands over.

    Attributes:
        command: its name.
        what: what it would do, in words, for `--dry-run`.
        tables: its settings as JSON types.
        recipe: all that shapes the result, JSON types; a continued run must share it.
        fit: of the loop.
        card: what the user says of the model.
        build: makes the parts.
    """

    command: str
    what: str
    tables: Mapping[str, Mapping[str, Any]]
    recipe: Mapping[str, Any]
    fit: FitOptions
    card: CardOptions
    build: Callable[[torch.device, World, Console], Built]


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        output: the model file; None after a dry run.
        steps: optimiser steps of the run.
        figures: of the exported weights, where there is a check.
    """

    output: Path | None
    steps: int
    figures: Mapping[str, float]


Build = Callable[[Any, Any, torch.device, World, Console], Built]
"""Makes the parts of a run of its request and settings."""


def run(
    request: TrainRequest,
    settings: Whole,
    build: Build,
    command: str,
    what: str,
    console: Console,
    **recipe: Any,
) -> Trained:
    """Train a model and write it.

    Args:
        request: what is asked for.
        settings: all of them.
        build: makes the parts.
        command: its name.
        what: it would do, in words, for `--dry-run`.
        console: narration.
        recipe: what shapes the result beside data, seed and settings, JSON types.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a model that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    tables = settings.to_json()
    shapes = {"data": list(request.data), "seed": request.seed, **recipe, **tables}
    parts = partial(build, request, settings)
    plan = Plan(command, what, tables, shapes, settings.fit, settings.card, parts)
    return train(request, plan, console)


def train(request: TrainRequest, plan: Plan, console: Console) -> Trained:
    """Train a model and write it.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a model that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    run, output = request.run, request.output
    if run.resume and is_complete(output, plan.recipe):
        console.info(f"{output}: complete already{_steps_done(output)}; more --steps take it on")
        return Trained(output, 0, {})
    if not run.dry_run:
        refuse_existing(output, force=run.force or run.resume)
    world, device_name = join_world(run.device)
    if not world.writes:
        console = Console(-1)
    with ExitStack() as stack:
        stack.callback(world.close)
        claims = world.writes and not run.dry_run
        if claims:
            lock = hidden_name(run_folder(output).name, ".lock")
            stack.enter_context(held(output, output.with_name(lock)))
        device = resolve_device(device_name)
        if claims:
            claim(request, plan.recipe)
        torch.manual_seed(request.seed)
        try:
            built = plan.build(device, world, console)
        except (MfrError, KeyboardInterrupt, Terminated):
            if claims:
                give_back(output)
            raise
        if run.dry_run:
            return Trained(None, _announce(plan, built, console), {})
        return _train(request, plan, built, world, console)


def _train(
    request: TrainRequest, plan: Plan, built: Built, world: World, console: Console
) -> Trained:
    folder = run_folder(request.output)
    card = _card(request, plan, built)

    def keep(weights: Mapping[str, Tensor], figures: Mapping[str, float]) -> None:
        rounded = {n: round(value, 6) for n, value in figures.items() if math.isfinite(value)}
        best = replace(card, metrics=rounded)
        save_model(folder / _BEST, built.bare(weights), best.to_json())

    parts = FitParts(
        task=built.task,
        batches=built.batches,
        show=built.show,
        check=built.check,
        keep=keep,
        folder=folder,
        device=built.device,
        workers=request.run.threads,
        measure=built.measure,
        draw=built.draw,
    )
    started = perf_counter()
    try:
        state = fit(parts, plan.fit, console, world, resume=request.run.resume)
    except (KeyboardInterrupt, Terminated) as stop:
        raise type(stop)(_how_to_go_on(request, world, console)) from stop
    except RuntimeError as error:
        if not is_lost(error):
            raise
        how = _how_to_go_on(request, world, console)
        raise MfrError("another process of the run is gone" + (how and f"; {how}")) from error
    figures: Mapping[str, float] = {}
    if world.writes:
        if state.unchecked:
            card = replace(card, config={**card.config, "unchecked": state.unchecked})
        figures = _finish(request.output, built, state, card)
        spent = duration(perf_counter() - started)
        console.info(f"{plan.command}: {state.step} steps in {spent} -> {request.output}")
        if state.unchecked:
            again = command_to_go_on(request.command)
            console.warn(f"{request.output}: written without its last check; to repeat it: {again}")
    world.wait()
    return Trained(request.output, state.step, figures)


def _how_to_go_on(request: TrainRequest, world: World, console: Console) -> str:
    """Say what is saved of an interrupted run; returns what continues it."""
    if not world.writes:
        return ""
    found = checkpoints(run_folder(request.output))
    saved = f"step {steps_of(found[-1])} is saved in {found[-1]}" if found else "nothing is saved"
    console.error(saved)
    again = "under torchrun as before: " if world.size > 1 else ""
    return f"to go on: {again}{command_to_go_on(request.command)}"


def _steps_done(output: Path) -> str:
    found = checkpoints(run_folder(output))
    return f", {steps_of(found[-1])} steps" if found else ""


def _finish(output: Path, built: Built, state: TrainState, card: ModelCard) -> Mapping[str, float]:
    """Write the best weights if checks found some, else the last ones."""
    best = run_folder(output) / _BEST
    if not best.exists():
        save_model(output, built.bare(state.exported()), card.to_json())
        return {}
    network, best_card = load_network(str(best))
    save_network(output, network, replace(card, metrics=best_card.metrics))
    return dict(best_card.metrics)


def _card(request: TrainRequest, plan: Plan, built: Built) -> ModelCard:
    said = plan.card
    names = ", ".join(Path(source).name for source in request.data)
    return replace(
        built.card,
        name=said.name or request.output.stem,
        licence=said.licence or built.card.licence,
        data=said.data or f"{len(built.batches.data)} crops: {names}",
        training=request.command,
        config=plan.recipe,
        note=said.note,
    )


def _announce(plan: Plan, built: Built, console: Console) -> int:
    """Say what a run would do; returns its number of steps."""
    total = plan.fit.total_steps(built.batches.steps_per_epoch)
    console.info(f"would {plan.what}")
    for name, count in built.parameters().items():
        console.info(f"  {name}: {count:,} parameters")
    data = built.batches.data
    console.info(
        f"  data: {len(data)} crops, {len(data.identities)} identities, {data.skipped} skipped"
    )
    for table, values in plan.tables.items():
        for name, value in values.items():
            console.info(f"  {table}.{name} = {json.dumps(value, ensure_ascii=False)}")
    seconds = built.seconds_per_step()
    console.info(
        f"  {total} steps of {built.batches.batch_size} faces, about {duration(seconds)} each: "
        f"{duration(total * seconds)} on {built.device}"
    )
    return total
