"""What a training run tells: `history.jsonl`, TensorBoard events, a progress bar or lines."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, Progress, to_line
from mfrkit.errors import InputError
from mfrkit.io.events import EventWriter
from mfrkit.io.files import write_whole
from mfrkit.io.images import encode_image
from mfrkit.io.manifest import parse_line

HISTORY = "history.jsonl"


class TrainLog:
    """Collect what steps report and pass on their means; use as a context manager.

    Args:
        folder: of the run; None to write nothing, for all processes but the first.
        console: narration.
        bar: of the run.
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
        self._start = self._since = time.perf_counter()
        self._events: EventWriter | None = None
        if folder is not None:
            _forget_after(folder / HISTORY, first)
            name = f"{int(time.time())}.{os.getpid()}.{first}"
            self._events = EventWriter(folder, name)

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._events is not None:
            self._events.__exit__(kind, error, trace)

    def add(self, losses: Mapping[str, float], faces: int, waited: float) -> None:
        """Take note of a step.

        Args:
            losses: scalars by name.
            faces: faces seen, over all processes.
            waited: seconds this process waited for data.
        """
        for name, value in losses.items():
            self._sums.setdefault(name, []).append(value)
        self._faces += faces
        self._waited += waited
        self._done += 1
        self._bar.update(faces)

    def flush(self, step: int, lr: float) -> None:
        """Write the means since the last time.

        Args:
            step: steps done.
            lr: learning rate.
        """
        seconds = max(time.perf_counter() - self._since, 1e-9)
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        rate, wait = self._faces / seconds, self._waited / seconds
        self.write(step, {**means, "lr": lr, "faces_per_second": rate, "data_wait": wait})
        left = (self._total - step) * (time.perf_counter() - self._start) / max(1, self._done)
        loss = means.get("loss", float("nan"))
        text = f"loss {loss:.4f}, {rate:.1f} img/s, {_clock(left)} left"
        self._bar.set_postfix_str(text)
        if not self._console.shows_progress and self._folder is not None:
            self._console.info(f"step {step}/{self._total}: {text}, waited {wait:.1%}")
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


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _forget_after(path: Path, step: int) -> None:
    """Keep the lines of a history up to a step; a line that a kill cut short goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        with suppress(InputError):
            done = parse_line(line, str(path)).get("step", 0)
            if isinstance(done, int) and done <= step:
                kept.append(line)
    write_whole(path, b"".join(kept))
