"""The one training loop: batches in, named losses, optimiser steps, checkpoints."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.console import Console
from mfrkit.errors import InputError, MfrError
from mfrkit.methods.base import Losses, Task
from mfrkit.methods.batch import FaceBatch
from mfrkit.stages.fit_options import FitOptions, lr_factor
from mfrkit.stages.stop import StopRequest
from mfrkit.stages.train_data import Batches, RawBatch
from mfrkit.stages.train_log import TrainLog
from mfrkit.stages.train_state import (
    TrainState,
    checkpoints,
    create_state,
    load_checkpoint,
    save_checkpoint,
    whole_state,
)
from mfrkit.stages.world import World

Show = Callable[[RawBatch], FaceBatch]
Check = Callable[[Mapping[str, Tensor]], dict[str, float]]
Draw = Callable[[Mapping[str, Tensor]], NDArray[np.uint8]]
Keep = Callable[[Mapping[str, Tensor], Mapping[str, float]], None]


@dataclass(frozen=True)
class FitParts:
    """What the loop works with.

    Attributes:
        task: the method.
        batches: where faces come from.
        show: turns what comes from disk into the two views, on the device.
        check: measures weights of the student; the entry `check_error` decides which are best.
        keep: receives the best weights whenever a check finds better ones, and their figures.
        folder: of the run's own files.
        device: everything computes on.
        workers: threads that read.
        measure: what `check_error` is, in words.
        draw: shows what weights of the student do, (H, W, 3) uint8 RGB, after every check.
    """

    task: Task
    batches: Batches
    show: Show
    check: Check | None
    keep: Keep
    folder: Path
    device: torch.device
    workers: int
    measure: str = "mean EER"
    draw: Draw | None = None


def fit(
    parts: FitParts, options: FitOptions, console: Console, world: World, *, resume: bool
) -> TrainState:
    """Train to the end, from the beginning or from the newest checkpoint.

    Ctrl-C and SIGTERM let the step under way finish and leave a checkpoint behind.

    Args:
        parts: networks, data and the rest.
        options: of the loop.
        console: narration and progress.
        world: the processes of the run.
        resume: continue from the newest checkpoint of the folder, if there is one.

    Returns:
        The final state.

    Raises:
        MfrError: a loss is not finite; the last checkpoint stays.
    """
    state = create_state(parts.task, options, parts.device)
    total = options.total_steps(parts.batches.steps_per_epoch)
    found = checkpoints(parts.folder) if resume else []
    if found:
        load_checkpoint(found[-1], state, world)
        if state.step > total:
            raise InputError(
                f"{found[-1]}: {state.step} steps are done, more than the {total} named"
            )
        console.info(f"continuing {found[-1]}: {state.step} of {total} steps are done")
        if state.total not in (0, total):
            before, now = (_rate(state, each, parts, options) for each in (state.total, total))
            console.info(
                f"begun for {state.total} steps, goes on to {total}: rate and masks.growth follow "
                f"that length from here, the rate goes from {before:.2g} to {now:.2g}"
            )
    state.total = total
    sharded = parts.task.sharded()
    world.share(t for name, t in parts.task.state_dict().items() if name not in sharded)
    label = f"train {parts.folder.stem}"
    with (
        console.progress(label, total, unit="step", done=state.step) as bar,
        StopRequest() as stop,
        TrainLog(parts.folder if world.writes else None, console, bar, state.step, total) as log,
    ):
        run = _Run(parts, options, console, world, state, log, total)
        _run(run, stop)
        best = state.best
        _check(run)  # after the last checkpoint, so that no report can cost the run
        if world.any(state.best < best):
            _save(run)
    return state


@dataclass(frozen=True)
class _Run:
    parts: FitParts
    options: FitOptions
    console: Console
    world: World
    state: TrainState
    log: TrainLog
    total: int


def _run(run: _Run, stop: StopRequest) -> None:
    state, options, parts, world = run.state, run.options, run.parts, run.world
    parts.task.train()
    for raw, waited in _timed(parts, state.step, run.total):
        for line in raw.broken:
            run.console.warn(f"left out {line}")
        lr = _set_rate(run)
        batch = parts.show(raw)
        torch.manual_seed(_seed(parts.batches.seed, state.step, world.rank))
        losses = _step(run, batch)
        state.step += 1
        if state.start is not None:
            state.start.pull(parts.task.student, options.pull * lr)
        if state.average is not None:
            state.average.update(parts.task.student, state.step)
        run.log.add(losses, len(raw.label) * world.size, waited)
        if state.step % options.log_every == 0 or state.step == run.total:
            run.log.flush(state.step, lr)
        if state.step % (options.check_every or run.total) == 0 and state.step < run.total:
            _check(run)
        stopping = world.any(stop.asked is not None)
        if stopping or state.step % options.save_every == 0 or state.step == run.total:
            _save(run)
        if stopping:
            raise stop.asked or KeyboardInterrupt


def _timed(parts: FitParts, first: int, total: int) -> Iterator[tuple[RawBatch, float]]:
    """Yield the batches of the remaining steps and how long each was waited for."""
    if first >= total:
        return
    stream = parts.batches.stream(first, total, parts.workers)
    while True:
        started = perf_counter()
        raw = next(stream, None)
        if raw is None:
            return
        yield raw, perf_counter() - started


def _seed(seed: int, step: int, rank: int) -> int:
    """Return what a step's own chance (drawn margins, dropout) starts from.

    Seeding every step, instead of saving generators, makes a continued run draw what a whole one
    does, whichever process it was cut off in.
    """
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _rate(state: TrainState, total: int, parts: FitParts, options: FitOptions) -> float:
    """Return the learning rate of the next step in a run of `total` steps."""
    factor = lr_factor(state.step, total, parts.batches.steps_per_epoch, options)
    return options.lr * factor * parts.task.rate()


def _set_rate(run: _Run) -> float:
    rate = _rate(run.state, run.total, run.parts, run.options)
    for optimiser in run.state.optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = rate
    return rate


def _step(run: _Run, batch: FaceBatch) -> dict[str, float]:
    """Take the optimiser steps of one batch and return the losses as numbers."""
    state, task = run.state, run.parts.task
    groups = task.groups()
    named: dict[str, float] = {}
    steps = task.steps(batch)
    while True:
        with _precision(run):
            name, losses = next(steps, ("", {}))
        if not losses:
            break
        mean = _finite_mean(run, losses)
        optimiser = state.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        state.scaler.scale(losses["loss"]).backward()
        # Before unscaling, so that all processes skip an overflow alike.
        run.world.average(groups[name], task.sharded().values())
        state.scaler.unscale_(optimiser)
        if run.options.clip:
            limited = set(task.clipped())
            nn.utils.clip_grad_norm_([p for p in groups[name] if p in limited], run.options.clip)
        state.scaler.step(optimiser)
        prefix = "" if name == "main" else f"{name}_"
        named |= {prefix + key: float(value.detach()) for key, value in losses.items()}
        named[f"{prefix}loss"] = mean
    state.scaler.update()
    return named


@contextmanager
def _precision(run: _Run) -> Iterator[None]:
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(run.options.precision)
    with torch.autocast(run.parts.device.type, half, enabled=half is not None):
        yield


def _finite_mean(run: _Run, losses: Losses) -> float:
    """Return the loss over all processes, or stop before it does harm."""
    value = run.world.mean(float(losses["loss"].detach()))
    if not math.isfinite(value):
        found = checkpoints(run.parts.folder)
        kept = f"the last good state is {found[-1]}" if found else "there is no checkpoint yet"
        raise MfrError(
            f"step {run.state.step + 1}: the loss is {value}; {kept}; "
            "try a lower --lr or full precision"
        )
    return value


def _check(run: _Run) -> None:
    """Measure the student; all processes wait for the one that can.

    A check that fails costs its figures, not the run.
    """
    if run.parts.check is not None and run.world.writes:
        run.state.unchecked = ""
        try:
            _measure(run, run.parts.check)
        except (MfrError, OSError, RuntimeError, ValueError) as error:
            run.state.unchecked = (str(error) or type(error).__name__).splitlines()[0]
            run.console.warn(f"step {run.state.step}: the check failed: {run.state.unchecked}")
    run.world.wait()


def _measure(run: _Run, check: Check) -> None:
    """Write down how good the student is, and keep its weights if they are the best so far."""
    state = run.state
    figures = check(state.exported())
    run.log.write(state.step, figures)
    error = figures["check_error"]
    better = error < state.best
    praise = ", the best so far" if better else ""
    run.console.info(f"step {state.step}: {run.parts.measure} {error:.2%}{praise}")
    if better:
        run.parts.keep(state.exported(), figures)
        state.best = error
    if run.parts.draw is not None:
        run.log.picture(state.step, run.parts.draw(state.exported()))


def _save(run: _Run) -> None:
    saved = whole_state(run.state, run.world)
    if run.world.writes:
        save_checkpoint(run.parts.folder, run.state.step, saved, run.options.keep)
    run.world.wait()
