"""Distil a mask-robust recogniser: crops and a teacher in, one model file out.

Beside the model lies the run's folder: its settings, checkpoints, history and TensorBoard events.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.checkpoints import save_model
from mfrkit.io.files import refuse_existing, write_whole
from mfrkit.models.cards import ModelCard
from mfrkit.models.device import resolve_device
from mfrkit.models.registry import load_network, save_network
from mfrkit.stages.distill_options import DistillRequest, Settings, resolve
from mfrkit.stages.distill_parts import Built, build, fit_parts
from mfrkit.stages.fit import fit
from mfrkit.stages.train_state import TrainState
from mfrkit.stages.world import World, join_world

_SETTINGS = "settings.json"
_BEST = "best.safetensors"


@dataclass(frozen=True)
class Distilled:
    """What a run made.

    Attributes:
        output: the model file; None after a dry run.
        steps: optimiser steps of the run.
        figures: of the exported weights, where a pair list was given.
    """

    output: Path | None
    steps: int
    figures: Mapping[str, float]


def distill(request: DistillRequest, console: Console) -> Distilled:
    """Train a student and write it.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a teacher that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    settings, run = resolve(request), request.run
    if request.pair_crops is not None and request.pairs is None:
        raise InputError("--pair-crops needs --pairs, the list to check on")
    folder = run_folder(request.output)
    if request.output.exists() and run.resume:
        console.info(f"{request.output}: complete already")
        return Distilled(request.output, 0, {})
    if not run.dry_run:
        refuse_existing(request.output, force=run.force)
    world, device_name = join_world(run.device)
    if not world.writes:
        console = Console(-1)
    try:
        device = resolve_device(device_name)
        if not run.dry_run:
            _prepare(folder, request, settings, world)
        torch.manual_seed(request.seed)
        built = build(request, settings, device, world, console)
        if run.dry_run:
            return Distilled(None, _announce(request, settings, built, console), {})
        return _train(request, settings, built, world, console)
    finally:
        world.close()


def run_folder(output: Path) -> Path:
    """Return where a run keeps what belongs to it.

    Example:
        >>> run_folder(Path("models/student.safetensors")).as_posix()
        'models/student.run'
    """
    return output.with_suffix(".run")


def _prepare(folder: Path, request: DistillRequest, settings: Settings, world: World) -> None:
    """Claim the run's folder, or refuse to mix two runs in it."""
    if not world.writes:
        return
    run, path = request.run, folder / _SETTINGS
    if run.force and folder.exists():
        if not path.exists():
            raise InputError(f"{folder}: is no run of mfrkit; name another output")
        shutil.rmtree(folder)
    content = _recipe(request, settings)
    if folder.exists() and not run.resume:
        raise InputError(
            f"{folder}: an unfinished run is there; --resume continues it, --force starts again"
        )
    if path.exists():
        _check_same(path, content)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=2).encode() + b"\n")


def _recipe(request: DistillRequest, settings: Settings) -> dict[str, Any]:
    """Return all that shapes the result, as JSON types."""
    return {
        "method": request.method,
        "teachers": list(request.teachers),
        "data": list(request.data),
        "seed": request.seed,
        "teacher_cache": request.teacher_cache is not None,
        **settings.to_json(),
    }


def _check_same(path: Path, wanted: Mapping[str, Any]) -> None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: unreadable; --force starts again") from error
    for name in found.keys() | wanted.keys():
        if found.get(name) != wanted.get(name):
            raise InputError(
                f"{path.parent}: was begun with {name} = {found.get(name)}, "
                f"not {wanted.get(name)}; --force starts again"
            )


def _train(
    request: DistillRequest, settings: Settings, built: Built, world: World, console: Console
) -> Distilled:
    folder = run_folder(request.output)
    card = _card(request, settings, built)

    def keep(weights: Mapping[str, Tensor], figures: Mapping[str, float]) -> None:
        rounded = {name: round(value, 6) for name, value in figures.items()}
        _export(built, weights, replace(card, metrics=rounded), folder / _BEST)

    parts = fit_parts(request, settings, built, world, keep, folder)
    started = perf_counter()
    state = fit(parts, settings.fit, console, world, resume=request.run.resume)
    figures: Mapping[str, float] = {}
    if world.writes:
        figures = _finish(request, built, state, card)
        minutes = (perf_counter() - started) / 60
        console.info(f"distill: {state.step} steps in {minutes:.1f} min -> {request.output}")
    world.wait()
    return Distilled(request.output, state.step, figures)


def _finish(
    request: DistillRequest, built: Built, state: TrainState, card: ModelCard
) -> Mapping[str, float]:
    """Write the best weights if checks found some, else the last ones."""
    best = run_folder(request.output) / _BEST
    if not best.exists():
        _export(built, state.exported(), card, request.output)
        return {}
    network, best_card = load_network(str(best))
    save_network(request.output, network, best_card)
    return dict(best_card.metrics)


def _export(built: Built, weights: Mapping[str, Tensor], card: ModelCard, path: Path) -> None:
    """Write weights of the student as a model file of the bare network."""
    prefix = "network."
    bare = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
    save_model(path, bare, card.to_json())


def _card(request: DistillRequest, settings: Settings, built: Built) -> ModelCard:
    said = settings.card
    names = ", ".join(Path(source).name for source in request.data)
    return replace(
        built.student.card,
        name=said.name or request.output.stem,
        licence=said.licence or "not stated; depends on the data and the teacher",
        source=f"mfrkit {__version__}, distilled from {', '.join(request.teachers)}",
        paper=built.paper,
        data=said.data or f"{len(built.batches.data)} crops: {names}",
        training=request.command,
        config=_recipe(request, settings),
        note=said.note,
    )


def _announce(request: DistillRequest, settings: Settings, built: Built, console: Console) -> int:
    """Say what a run would do; returns its number of steps."""
    total = settings.fit.total_steps(built.batches.steps_per_epoch)
    console.info(f"would distill {request.method} from {', '.join(request.teachers)}")
    for name, count in built.parameters().items():
        console.info(f"  {name}: {count:,} parameters")
    data = built.batches.data
    console.info(
        f"  data: {len(data)} crops, {len(data.identities)} identities, {data.skipped} skipped"
    )
    for table, values in settings.to_json().items():
        for name, value in values.items():
            console.info(f"  {table}.{name} = {value!r}")
    seconds = built.seconds_per_step()
    console.info(
        f"  {total} steps of {built.batches.batch_size} faces, about {seconds:.2f} s each: "
        f"{total * seconds / 3600:.2f} hours on {built.device}"
    )
    return total
