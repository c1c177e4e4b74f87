"""What a training run tells: `history.jsonl`, TensorBoard events, a progress bar or lines."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, Progress, to_line
from mfrkit.io.events import EventWriter
from mfrkit.io.files import write_whole
from mfrkit.io.history import HISTORY, read_lines
from mfrkit.io.images import encode_image

_PAUSE, _LONGEST_PAUSE = 10.0, 300.0  # seconds between lines; between them, a hundredth of the run


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
        self._start = self._since = self._told = time.perf_counter()
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
        if self._done > 1 and step < self._total and now - self._told < pause:
            return
        self._told = now
        text = f"loss {self._mean_loss():.4f}, {duration(each)} a step"
        left = f", {duration(each * (self._total - step))} left" if step < self._total else ""
        self._console.info(f"step {step}/{self._total}: {text}{left}")

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
