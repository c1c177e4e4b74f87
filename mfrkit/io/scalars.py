"""The scalars of a training run, in `history.jsonl` and in TensorBoard's event files.

A line of `history.jsonl` holds `step`, the steps done, and scalars by name, null where one was not
finite. Losses and checks of a step come in lines of their own. A line that a kill cut short is not
counted, and what a continued run does again replaces what was there.

An event file, written here without TensorBoard, is a sequence of records, each framed as
little-endian length (8 bytes), masked CRC-32C of the length, content, masked CRC-32C of the
content. The content is a protocol buffer `Event`: `wall_time` = 1 (double), `step` = 2 (varint),
`file_version` = 3 (text), `summary` = 5, which holds values = 1 of `tag` = 1 (text) and
`simple_value` = 2 (float) or `image` = 4: its `height` = 1, `width` = 2, `colorspace` = 3 (varints;
3 is RGB) and `encoded_image_string` = 4 (bytes).
"""

import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.documents import read_content
from mfrkit.io.manifest import parse_line

HISTORY = "history.jsonl"


@dataclass(frozen=True, eq=False)
class Series:
    """One scalar of a run."""

    steps: NDArray[np.int64]  # (N,) steps done, strictly rising
    values: NDArray[np.float64]  # (N,) NaN where it was not finite


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
    """Read the scalars of a run by name, in the order they first appear."""
    steps: dict[int, dict[str, Any]] = {}
    last = 0
    for _, fields in read_lines(read_content(path)):
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


_POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_RGB = 3  # `colorspace`: the number of channels


class EventWriter:
    """Appends scalars to an event file; use as a context manager.

    Every run of a process begins a file of its own in `folder`, as TensorBoard expects of a
    continued run; `name` tells it from those of earlier ones.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{name}"
        self._file = self.path.open("wb")
        self._write(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the scalars of one step and hand them to the system at once."""
        summary = b"".join(
            _bytes(1, _bytes(1, tag.encode()) + _float(2, value)) for tag, value in scalars.items()
        )
        self._summary(step, summary)

    def add_png(self, step: int, tag: str, content: bytes, size: tuple[int, int]) -> None:
        """Write an RGB picture of (height, width) `size`, given a PNG file's bytes."""
        image = _integer(1, size[0]) + _integer(2, size[1]) + _integer(3, _RGB) + _bytes(4, content)
        self._summary(step, _bytes(1, _bytes(1, tag.encode()) + _bytes(4, image)))

    def _summary(self, step: int, summary: bytes) -> None:
        self._write(_double(1, time.time()) + _integer(2, step) + _bytes(5, summary))

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))
        self._file.flush()


def crc32c(content: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes."""
    table, value = _table(), 0xFFFFFFFF
    for byte in content:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _checksum(content: bytes) -> bytes:
    """Return the checksum as the format stores it: rotated and shifted."""
    value = crc32c(content)
    rotated = ((value >> 15) | (value << 17)) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | _DOUBLE) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | _FLOAT) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value
