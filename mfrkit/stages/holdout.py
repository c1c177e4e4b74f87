"""Part a data set: most of it to train on, some people or pictures to measure with."""

import hashlib
from dataclasses import replace

from mfrkit.stages.train_data import TrainSet
from mfrkit.stages.train_faces import TrainFace


def hold_out(data: TrainSet, count: int) -> tuple[TrainSet, TrainSet]:
    """Part a data set.

    People are held out whole, so that none of them is known from training; faces without identity
    one by one. Who it is follows from the names alone, whatever the order of the sources.

    Args:
        data: to part.
        count: faces to hold out, if that is no more than a tenth; with the rest of the last person
            it may become a fifth.

    Returns:
        What to train on, and what is held out.
    """
    wanted = min(count, len(data) // 10)
    groups: dict[str, list[int]] = {}
    for place, face in enumerate(data.faces):
        groups.setdefault(_group(face, data), []).append(place)
    held: set[int] = set()
    for name in sorted(groups, key=_hash):
        if len(held) >= wanted:
            break
        if len(held) + len(groups[name]) <= len(data) // 5:
            held.update(groups[name])
    kept = [face for place, face in enumerate(data.faces) if place not in held]
    return replace(data, faces=kept), replace(data, faces=[data.faces[p] for p in sorted(held)])


def _group(face: TrainFace, data: TrainSet) -> str:
    return face.record.key if face.label < 0 else f"\0{data.identities[face.label]}"


def _hash(name: str) -> bytes:
    """Return what puts names into an order that looks random and is always the same."""
    return hashlib.sha256(name.encode("utf-8", "replace")).digest()
