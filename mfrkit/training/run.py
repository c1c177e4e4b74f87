"""One training run, whatever it trains: its parts, its folder, and the model file at its end.

Beside the model lies the run's folder: its settings, checkpoints, history and TensorBoard events.
"""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from mfrkit.console import Console
from mfrkit.errors import MfrError, Terminated
from mfrkit.io.checkpoints import save_model
from mfrkit.io.files import held, hidden_name, refuse_existing
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.realign import MeshAligner
from mfrkit.methods.views import PairedViews, ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.device import resolve_device, send
from mfrkit.models.registry import load_network, save_network
from mfrkit.stages.find_faces import load_mesh
from mfrkit.training.crops import Read
from mfrkit.training.data import Batches, RawBatch, TrainSet
from mfrkit.training.fit import FitParts, duration, fit
from mfrkit.training.options import TrainRequest
from mfrkit.training.run_folder import claim, command_to_go_on, give_back, is_complete, run_folder
from mfrkit.training.settings import CardOptions, FitOptions, RunSettings
from mfrkit.training.state import TrainState, checkpoints, steps_of
from mfrkit.training.world import World, is_lost, join_world

_TIMED_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Built(FitParts):
    """The finished parts of a run, but for those that the run itself adds.

    Attributes:
        network: the bare network inside the task's student, which is exported.
        card: its card, without what the run knows.
    """

    network: nn.Module
    card: ModelCard

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


def deal_out(
    data: TrainSet,
    size: tuple[int, int],
    settings: RunSettings,
    seed: int,
    world: World,
    read: Read | None = None,
    beside: Mapping[str, Batches] | None = None,
) -> Batches:
    """Deal the data out to steps as `Batches` does, with the masks' curriculum if there is one.

    Raises:
        InputError: fewer crops than processes.
    """
    batches = Batches(
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
    if settings.masks.growth:
        total = settings.fit.total_steps(batches.steps_per_epoch)
        batches.grown = max(1, round(settings.masks.growth * total))
    return batches


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
class Trained:
    """What a run made: a model file unless it was a dry run, its steps, and figures of a check."""

    output: Path | None
    steps: int
    figures: Mapping[str, float]


Build = Callable[[Any, Any, torch.device, World, Console], Built]
"""Makes the parts of a run of its request and settings."""


def run(
    request: TrainRequest,
    settings: RunSettings,
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
    run, output = request.run, request.output
    recipe = {"data": list(request.data), "seed": request.seed, **recipe, **settings.to_json()}
    if run.resume and is_complete(output, recipe):
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
            claim(request, recipe)
        torch.manual_seed(request.seed)
        try:
            built = build(request, settings, device, world, console)
        except (MfrError, KeyboardInterrupt, Terminated):
            if claims:
                give_back(output)
            raise
        if run.dry_run:
            console.info(f"would {what}")
            return Trained(None, _announce(settings, built, console), {})
        built = replace(built, card=_card(request, settings.card, recipe, built))
        return _train(request, settings.fit, built, command, world, console)


def _train(
    request: TrainRequest,
    options: FitOptions,
    built: Built,
    command: str,
    world: World,
    console: Console,
) -> Trained:
    folder, card = run_folder(request.output), built.card

    def keep(weights: Mapping[str, Tensor], figures: Mapping[str, float]) -> None:
        rounded = {n: round(value, 6) for n, value in figures.items() if math.isfinite(value)}
        best = replace(card, metrics=rounded)
        save_model(folder / _BEST, built.bare(weights), best.to_json())

    parts = replace(built, keep=keep, folder=folder, workers=request.run.threads)
    started = perf_counter()
    try:
        state = fit(parts, options, console, world, resume=request.run.resume)
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
        console.info(f"{command}: {state.step} steps in {spent} -> {request.output}")
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


def _card(
    request: TrainRequest, said: CardOptions, recipe: Mapping[str, Any], built: Built
) -> ModelCard:
    names = ", ".join(Path(source).name for source in request.data)
    return replace(
        built.card,
        name=said.name or request.output.stem,
        licence=said.licence or built.card.licence,
        data=said.data or f"{len(built.batches.data)} crops: {names}",
        training=request.command,
        config=recipe,
        note=said.note,
    )


def _announce(settings: RunSettings, built: Built, console: Console) -> int:
    """Say what a run would work with; returns its number of steps."""
    total = settings.fit.total_steps(built.batches.steps_per_epoch)
    for name, count in built.parameters().items():
        console.info(f"  {name}: {count:,} parameters")
    data = built.batches.data
    console.info(
        f"  data: {len(data)} crops, {len(data.identities)} identities, {data.skipped} skipped"
    )
    for table, values in settings.to_json().items():
        for name, value in values.items():
            console.info(f"  {table}.{name} = {json.dumps(value, ensure_ascii=False)}")
    seconds = built.seconds_per_step()
    console.info(
        f"  {total} steps of {built.batches.batch_size} faces, about {duration(seconds)} each: "
        f"{duration(total * seconds)} on {built.device}"
    )
    return total
