"""Part a data set: most of it to train on, some people or pictures to measure with."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from mfrkit.stages.train_data import TrainFace, TrainSet


def hold_out(data: TrainSet, count: int) -> tuple[TrainSet, TrainSet]:
    """Part a data set.

    People are held out whole, so that none of them is known from training; faces without identity
    one by one. Who it is follows from the names alone, whatever the order of the sources.

    Args:
        data: to part.
        count: faces to hold out, about; at most a tenth is, and none if 0.

    Returns:
        What to train on, and what is held out.
    """
    wanted = min(count, len(data) // 10)
    groups: dict[str, list[int]] = {}
    for place, face in enumerate(data.faces):
        groups.setdefault(_group(face, data), []).append(place)
    held: set[int] = set()
    for name in _shuffled(groups):
        if len(held) >= wanted:
            break
        if len(held) + len(groups[name]) <= len(data) // 5:
            held.update(groups[name])
    return tuple(
        replace(data, faces=[f for place, f in enumerate(data.faces) if (place in held) == out])
        for out in (False, True)
    )  # type: ignore[return-value]


def _group(face: TrainFace, data: TrainSet) -> str:
    return face.record.key if face.label < 0 else f"\0{data.identities[face.label]}"


def _shuffled(names: dict[str, list[int]]) -> Iterator[str]:
    """Yield names in an order that looks random and is always the same."""
    yield from sorted(
        names, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest()
    )
