"""The one training loop: batches in, named losses, optimiser steps, checkpoints.

What it tells goes to `history.jsonl`, TensorBoard events, a progress bar or lines. Ctrl-C and
SIGTERM take effect when the step in hand is finished.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.console import Console, Progress, to_line
from mfrkit.errors import InputError, MfrError, Terminated
from mfrkit.io.files import write_whole
from mfrkit.io.images import encode_image
from mfrkit.io.scalars import HISTORY, EventWriter, read_lines
from mfrkit.methods.base import Losses, Task
from mfrkit.training.data import Deal, Drawn
from mfrkit.training.settings import FitOptions, lr_factor
from mfrkit.training.state import (
    TrainState,
    checkpoints,
    create_state,
    load_checkpoint,
    save_checkpoint,
)
from mfrkit.training.world import World


class StopRequest:
    """Note Ctrl-C and SIGTERM; use as a context manager. A second one interrupts at once.

    Attributes:
        asked: what to raise when the work in hand is finished, None if nothing asked for a stop.
    """

    def __init__(self) -> None:
        self.asked: type[BaseException] | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if self.asked is not None:
            raise kind
        self.asked = kind


_PAUSE, _LONGEST_PAUSE = 10.0, 300.0  # seconds between lines; between them, a hundredth of the run


class TrainLog:
    """Collect what steps report and pass on their means; use as a context manager.

    Args:
        folder: of the run; None to write nothing, for all processes but the first.
        first: steps done before; later lines of an earlier run are forgotten.
        total: steps of the run.
    """

    def __init__(
        self, folder: Path | None, console: Console, bar: Progress, first: int, total: int
    ) -> None:
        self._folder, self._console, self._bar = folder, console, bar
        self._total = total
        self._sums: dict[str, list[float]] = {}
        self._faces = 0
        self._waited = 0.0
        self._first, self._done = first, 0
        self._start = self._since = self._told = time.perf_counter()
        self._step_told = first
        self._events: EventWriter | None = None
        if folder is not None:
            _forget_after(folder / HISTORY, first)
            name = f"{int(time.time())}.{os.getpid()}.{first}"
            self._events = EventWriter(folder, name)

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.__exit__()

    def add(self, losses: Mapping[str, float], faces: int, waited: float) -> None:
        """Take note of a step: its losses, the faces of all processes, and the wait for data."""
        for name, value in losses.items():
            self._sums.setdefault(name, []).append(value)
        self._faces += faces
        self._waited += waited
        self._done += 1
        self._bar.set_postfix_str(f"loss {self._mean_loss():.4f}", refresh=False)
        self._bar.update()
        if self._done == 1:
            self._tell()

    def _mean_loss(self) -> float:
        """Return the mean loss since the last line of the history."""
        values = self._sums.get("loss", [float("nan")])
        return sum(values) / len(values)

    def _tell(self) -> None:
        """Say how far the run is where no bar does: at its ends, and now and then between."""
        if self._console.shows_progress or self._folder is None:
            return
        step, now = self._first + self._done, time.perf_counter()
        each = (now - self._start) / self._done
        pause = min(_LONGEST_PAUSE, max(_PAUSE, each * (self._total - self._first) / 100))
        early = self._done > 1 and step < self._total and now - self._told < pause
        if early or step == self._step_told:
            return
        self._told, self._step_told = now, step
        text = f"loss {self._mean_loss():.4f}, {duration(each)} a step"
        left = f", {duration(each * (self._total - step))} left" if step < self._total else ""
        self._console.info(f"step {step}/{self._total}: {text}{left}")

    def flush(self, step: int, lr: float) -> None:
        """Write the means since the last time."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        rate, wait = self._faces / seconds, self._waited / seconds
        self.write(step, {**means, "lr": lr, "faces_per_second": rate, "data_wait": wait})
        self._tell()
        self._sums, self._faces, self._waited = {}, 0, 0.0
        self._since = time.perf_counter()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append one line to the history, and the same scalars to the events."""
        if self._folder is None:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in scalars.items()}
        with (self._folder / HISTORY).open("ab") as file:
            file.write(to_line({"step": step, **rounded}).encode() + b"\n")
        if self._events is not None:
            self._events.add(step, scalars)

    def picture(self, step: int, picture: NDArray[np.uint8]) -> None:
        """Write a picture, (H, W, 3) uint8 RGB, as a PNG file of its own and to the events."""
        if self._folder is None:
            return
        content = encode_image(picture, ".png")
        write_whole(self._folder / f"samples-{step:08d}.png", content)
        if self._events is not None:
            self._events.add_png(step, "samples", content, picture.shape[:2])


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it.

    Example:
        >>> [duration(s) for s in (0.0123, 0.5, 48, 754, 8000, 1e6)]
        ['12 ms', '0.5 s', '48 s', '13 min', '2.2 hours', '11.6 days']
    """
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.2g} s"
    for unit, size, digits in (("min", 60, 0), ("hours", 3600, 1)):
        if seconds < 100 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def _forget_after(path: Path, step: int) -> None:
    """Keep the lines of a history up to a step; a line that a kill cut short goes too."""
    if not path.exists():
        return
    lines = read_lines(path.read_bytes())
    kept = [line for line, fields in lines if fields.get("step", 0) <= step]
    write_whole(path, b"".join(kept))


Show = Callable[[Any], Any]
Check = Callable[[Mapping[str, Tensor]], dict[str, float]]
Draw = Callable[[Mapping[str, Tensor]], NDArray[np.uint8]]
Keep = Callable[[Mapping[str, Tensor], Mapping[str, float]], None]


@dataclass(frozen=True)
class FitParts:
    """What the loop works with.

    Attributes:
        show: turns what the batches deal out into what the task takes, on the device.
        check: measures weights of the student; the entry `check_error` decides which are best.
        measure: what `check_error` is, in words.
        draw: shows what weights of the student do, (H, W, 3) uint8 RGB, after every check.
        keep: receives the best weights whenever a check finds better ones, and their figures.
        folder: of the run's own files.
        workers: threads that read.
    """

    task: Task
    batches: Deal
    show: Show
    device: torch.device
    check: Check | None = None
    measure: str = "mean EER"
    draw: Draw | None = None
    keep: Keep = lambda weights, figures: None
    folder: Path = Path()
    workers: int = 1


def fit(
    parts: FitParts, options: FitOptions, console: Console, world: World, *, resume: bool
) -> TrainState:
    """Train to the end, from the beginning or with `resume` from the newest checkpoint there is.

    Ctrl-C and SIGTERM let the step under way finish and leave a checkpoint behind.

    Raises:
        InputError: the checkpoint has more steps than the run.
        MfrError: a loss is not finite; the last checkpoint stays.
    """
    state = create_state(parts.task, options, parts.device)
    total = options.total_steps(parts.batches.steps_per_epoch)
    found = checkpoints(parts.folder) if resume else []
    if found:
        load_checkpoint(found[-1], state)
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
    world.share(parts.task.state_dict().values())
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


def _timed(parts: FitParts, first: int, total: int) -> Iterator[tuple[Drawn, float]]:
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


def _step(run: _Run, batch: Any) -> dict[str, float]:
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
        optimiser = state.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        state.scaler.scale(losses["loss"]).backward()
        values = _numbers(losses)
        mean = _finite_mean(run, values["loss"])
        # Before unscaling, so that all processes skip an overflow alike.
        run.world.average(groups[name])
        state.scaler.unscale_(optimiser)
        if run.options.clip:
            limited = set(task.clipped())
            nn.utils.clip_grad_norm_([p for p in groups[name] if p in limited], run.options.clip)
        state.scaler.step(optimiser)
        prefix = "" if name == "main" else f"{name}_"
        named |= {prefix + key: value for key, value in values.items()}
        named[f"{prefix}loss"] = mean
    state.scaler.update()
    return named


@contextmanager
def _precision(run: _Run) -> Iterator[None]:
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(run.options.precision)
    with torch.autocast(run.parts.device.type, half, enabled=half is not None):
        yield


def _numbers(losses: Losses) -> dict[str, float]:
    """Fetch all losses at once, so that a device is waited for once, when it has its work in hand.

    A mean that is none, of faces a batch has not, is left out.
    """
    scalars = torch.stack([value.detach().float() for value in losses.values()]).tolist()
    named = zip(losses, scalars, strict=True)
    return {name: value for name, value in named if name == "loss" or not math.isnan(value)}


def _finite_mean(run: _Run, loss: float) -> float:
    """Return the loss over all processes, or stop before it does harm."""
    value = run.world.mean(loss)
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
    if run.world.writes:
        saved = run.state.state_dict()
        save_checkpoint(run.parts.folder, run.state.step, saved, run.options.keep)
    run.world.wait()
