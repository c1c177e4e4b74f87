"""One training run, whatever it trains: its folder, its card, and the model file at its end.

Beside the model lies the run's folder: its settings, checkpoints, history and TensorBoard events.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from mfrkit.console import Console
from mfrkit.errors import InputError, MfrError
from mfrkit.io.checkpoints import save_model
from mfrkit.io.documents import read_json_object
from mfrkit.io.files import refuse_existing, remove_whole, write_whole
from mfrkit.io.lock import held
from mfrkit.io.names import hidden_name
from mfrkit.models.cards import ModelCard
from mfrkit.models.device import resolve_device
from mfrkit.models.registry import load_network, save_network
from mfrkit.stages.fit import FitParts, fit
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.train_parts import Built
from mfrkit.stages.train_request import CardOptions, TrainRequest
from mfrkit.stages.train_state import TrainState
from mfrkit.stages.world import World, join_world

_SETTINGS = "settings.json"
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


def train(request: TrainRequest, plan: Plan, console: Console) -> Trained:
    """Train a model and write it.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a model that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    run = request.run
    settings = run_folder(request.output) / _SETTINGS
    if request.output.exists() and run.resume:
        if settings.exists():
            _check_same(settings, plan.recipe)
        console.info(f"{request.output}: complete already")
        return Trained(request.output, 0, {})
    if not run.dry_run:
        refuse_existing(request.output, force=run.force)
    world, device_name = join_world(run.device)
    if not world.writes:
        console = Console(-1)
    with ExitStack() as stack:
        stack.callback(world.close)
        if not run.dry_run and world.writes:
            lock = hidden_name(run_folder(request.output).name, ".lock")
            stack.enter_context(held(request.output, request.output.with_name(lock)))
        device = resolve_device(device_name)
        if not run.dry_run and world.writes:
            _claim(run_folder(request.output), request, plan.recipe)
        torch.manual_seed(request.seed)
        try:
            built = plan.build(device, world, console)
        except MfrError:
            if not run.dry_run and world.writes:
                _give_back(run_folder(request.output))
            raise
        if run.dry_run:
            return Trained(None, _announce(plan, built, console), {})
        return _train(request, plan, built, world, console)


def run_folder(output: Path) -> Path:
    """Return where a run keeps what belongs to it.

    Example:
        >>> run_folder(Path("models/student.safetensors")).as_posix()
        'models/student.run'
    """
    return output.with_suffix(".run")


def _claim(folder: Path, request: TrainRequest, recipe: Mapping[str, Any]) -> None:
    """Claim the run's folder, or refuse to mix two runs in it."""
    run, path = request.run, folder / _SETTINGS
    if run.force and folder.exists():
        if not path.exists():
            raise InputError(f"{folder}: is no run of mfrkit; name another output")
        request.output.unlink(missing_ok=True)  # first: it is not what this run makes
        remove_whole(folder)
    if folder.exists() and not run.resume:
        raise InputError(
            f"{folder}: an unfinished run is there; --resume continues it, --force starts again"
        )
    if path.exists():
        _check_same(path, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(recipe, indent=2).encode() + b"\n")


def _give_back(folder: Path) -> None:
    """Remove a claimed folder that holds nothing yet: the corrected command can have it."""
    if [path.name for path in folder.iterdir()] == [_SETTINGS]:
        shutil.rmtree(folder)


def _check_same(path: Path, wanted: Mapping[str, Any]) -> None:
    found = read_json_object(path, "; --force starts again")
    for name in found.keys() | wanted.keys():
        if found.get(name) != wanted.get(name):
            raise InputError(
                f"{path.parent}: was begun with {name} = {found.get(name)}, "
                f"not {wanted.get(name)}; --force starts again"
            )


def _train(
    request: TrainRequest, plan: Plan, built: Built, world: World, console: Console
) -> Trained:
    folder = run_folder(request.output)
    card = _card(request, plan, built)

    def keep(weights: Mapping[str, Tensor], figures: Mapping[str, float]) -> None:
        rounded = {name: round(value, 6) for name, value in figures.items()}
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
        workers=request.run.workers,
        measure=built.measure,
        draw=built.draw,
    )
    started = perf_counter()
    state = fit(parts, plan.fit, console, world, resume=request.run.resume)
    figures: Mapping[str, float] = {}
    if world.writes:
        figures = _finish(request.output, built, state, card)
        minutes = (perf_counter() - started) / 60
        console.info(f"{plan.command}: {state.step} steps in {minutes:.1f} min -> {request.output}")
    world.wait()
    return Trained(request.output, state.step, figures)


def _finish(output: Path, built: Built, state: TrainState, card: ModelCard) -> Mapping[str, float]:
    """Write the best weights if checks found some, else the last ones."""
    best = run_folder(output) / _BEST
    if not best.exists():
        save_model(output, built.bare(state.exported()), card.to_json())
        return {}
    network, best_card = load_network(str(best))
    save_network(output, network, best_card)
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
            console.info(f"  {table}.{name} = {value!r}")
    seconds = built.seconds_per_step()
    console.info(
        f"  {total} steps of {built.batches.batch_size} faces, about {seconds:.2f} s each: "
        f"{total * seconds / 3600:.2f} hours on {built.device}"
    )
    return total
