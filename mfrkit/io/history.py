"""The history of a training run: `history.jsonl`, a line of JSON for each time it was measured.

Every line holds `step`, the steps done, and scalars by name, null where one was not finite. Losses
and checks of a step come in lines of their own. A line that a kill cut short is not counted, and
what a continued run does again replaces what was there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.manifest import parse_line

HISTORY = "history.jsonl"


@dataclass(frozen=True, eq=False)
class Series:
    """One scalar of a run.

    Attributes:
        steps: (N,) int64, steps done, strictly rising.
        values: (N,) float64, NaN where it was not finite.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def read_lines(content: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield every whole line of a history and what it holds; others are passed over."""
    for line in content.splitlines(keepends=True):
        try:
            fields = parse_line(line, HISTORY)
        except InputError:
            continue
        step = fields.get("step", 0)
        if type(step) is int and 0 <= step < 1 << 63:
            yield line, fields


def read_history(path: Path) -> dict[str, Series]:
    """Read the scalars of a run by name, in the order they first appear.

    Raises:
        InputError: unreadable.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
    steps: dict[int, dict[str, Any]] = {}
    last = 0
    for _, fields in read_lines(content):
        step = fields.pop("step", 0)
        if step < last:  # the run went back to a checkpoint
            steps = {known: held for known, held in steps.items() if known < step}
        last = step
        steps.setdefault(step, {}).update(fields)
    return _series(steps)


def _series(steps: Mapping[int, Mapping[str, Any]]) -> dict[str, Series]:
    found: dict[str, tuple[list[int], list[float]]] = {}
    for step, fields in steps.items():
        for name, value in fields.items():
            if value is None or isinstance(value, int | float):
                places, values = found.setdefault(name, ([], []))
                places.append(step)
                values.append(_number(value))
    return {name: Series(np.array(a, np.int64), np.array(b)) for name, (a, b) in found.items()}


def _number(value: float | None) -> float:
    try:
        return float("nan") if value is None else float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return float("inf")
