"""Training data: crops from any number of sources, in batches without chance.

Which faces a step sees, and how, follows from the run's seed and the step's number alone. A
resumed run therefore needs to remember nothing but its step. Some people or pictures can be held
out to measure with; masks can be few at first, and as many as asked for after a share of the run.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.item import ArchiveSource
from mfrkit.io.source import open_source
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.realign import Context
from mfrkit.methods.views import ViewDraw, ViewOptions, draw_view
from mfrkit.stages.flow import ordered_map
from mfrkit.stages.sink import Tally
from mfrkit.training.crops import (
    ArchiveFaces,
    Faces,
    JoinedFaces,
    Read,
    TrainCrop,
    TrainFace,
    read_crop,
    read_each,
)


@dataclass(frozen=True)
class DataSet:
    """What a run learns from, whatever it is made of.

    Attributes:
        identities: names behind the labels.
        tally: inputs that cannot be used.
    """

    identities: Sequence[str]
    tally: Tally

    @property
    def skipped(self) -> int:
        """Return the number of inputs that cannot be used."""
        return self.tally.skipped

    def __len__(self) -> int:
        raise NotImplementedError


@dataclass(frozen=True)
class TrainSet(DataSet):
    """All crops of a run, in the order of their sources."""

    faces: Faces

    def __len__(self) -> int:
        return len(self.faces)


def open_train_set(sources: Iterable[str]) -> TrainSet:
    """List the crops of several folders, manifests, archives or pictures.

    People are told apart by the records' identities, which is the first folder where there is no
    manifest; the same name in two sources is one person. Files that lie flat have no identity.
    The numbers of a `.rec` file name people of that file only. A source named twice counts twice.

    Raises:
        InputError: a source that is not there, or no crops at all.
    """
    sources = list(sources)
    labels: dict[str, int] = {}
    tally = Tally()
    faces = JoinedFaces([_open_faces(source, labels, tally) for source in sources])
    if not len(faces):
        raise InputError(f"{', '.join(sources)}: no crops found; mfrkit align makes them")
    return TrainSet(list(labels), tally, faces)


def told(data: TrainSet, console: Console) -> TrainSet:
    """Say what of a data set cannot be used, and return it."""
    if data.skipped:
        console.info(f"data: {len(data)} crops, {data.tally.losses}")
    return data


def _open_faces(text: str, labels: dict[str, int], tally: Tally) -> Faces:
    """List the crops of one source, add its people to the labels and what is amiss to the tally."""
    source = open_source(text)
    if isinstance(source, ArchiveSource):
        for reason in source.faults.values():
            tally.add_skipped(reason)
        return ArchiveFaces(source, [labels.setdefault(who, len(labels)) for who in source.people])
    faces: list[TrainFace] = []
    for item in source:
        if item.path is None:
            tally.add(item.record)
            continue
        name = item.record.identity
        label = -1 if name is None else labels.setdefault(name, len(labels))
        faces.append(TrainFace(item.path, item.record, label))
    return faces


@dataclass(frozen=True)
class Drawn:
    """Whose turn it is at a step: (B,) identities, -1 where unknown, and places in the data set.

    What could not be read is told as `path: reason`.
    """

    label: Tensor
    index: Tensor
    broken: list[str]


@dataclass(frozen=True)
class RawBatch(Drawn):
    """The faces of one step as they come from disk.

    Attributes:
        crops: (B, 3, H, W) uint8 RGB.
        points: (B, 5, 2) float32, crop pixels.
        landmarks: (B, 68, 2) float32, likewise; NaN for a face that has none.
        turns: (B, 2) float32, yaw and pitch in degrees where the landmarks are those of a mesh,
            else NaN.
        draws: B views.
        context: what is seen round those faces that were cut out wide, or None.
        beside: faces of other data sets that the step takes too, by their name in `FaceBatch`.
    """

    crops: Tensor
    points: Tensor
    landmarks: Tensor
    turns: Tensor
    draws: list[ViewDraw]
    context: Context | None = None
    beside: "Mapping[str, RawBatch]" = field(default_factory=dict)


class Deal:
    """Deal a data set out to steps.

    Every epoch is a new order of all faces; the last, smaller batch is left out. A step has
    `batch_size` faces, of which each of the `world` processes takes every n-th.
    """

    def __init__(
        self, data: DataSet, *, seed: int, batch_size: int, rank: int = 0, world: int = 1
    ) -> None:
        self.data, self.seed = data, seed
        self.batch_size = min(batch_size, len(data))
        self.steps_per_epoch = len(data) // self.batch_size
        self._rank, self._world = rank, world
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        if self.batch_size < world:
            raise InputError(f"{len(data)} crops cannot be dealt out to {world} processes")

    def indices(self, step: int) -> NDArray[np.int64]:
        """Return the places of this process's faces at a step, from 0."""
        epoch, turn = divmod(step, self.steps_per_epoch)
        start = turn * self.batch_size
        return self._shuffled(epoch)[start : start + self.batch_size][self._rank :: self._world]

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        """Return the epoch's order; threads that ask for two epochs at once only work twice."""
        held, order = self._order
        if held != epoch:
            # 2**32 keeps these numbers apart from those of the views.
            generator = np.random.Generator(np.random.PCG64([self.seed, epoch, 2**32]))
            order = generator.permutation(len(self.data))
            self._order = (epoch, order)
        return order

    def load(self, step: int) -> Drawn:
        """Return whose turn it is at a step, and what the run's `show` needs of them."""
        raise NotImplementedError

    def stream(self, first: int, stop: int, workers: int) -> Iterator[Any]:
        """Yield the batches of steps `first` to `stop` - 1, read ahead in threads."""
        return ordered_map(self.load, range(first, stop), workers=workers)


class Batches(Deal):
    """Deal crops out to steps, each with a view of its own.

    Args:
        data: the crops.
        size: (height, width) they must have.
        views: how far views may vary.
        masks: what is drawn, on which share of the faces.
        read: gets a face's crop; `read_crop` if None.
        beside: other data sets', of which each step takes a batch too, by name.
        dealing: to steps, as `Deal`; the seed is that of views too.
    """

    data: TrainSet

    def __init__(
        self,
        data: TrainSet,
        *,
        size: tuple[int, int],
        views: ViewOptions,
        masks: MaskOptions,
        read: Read | None = None,
        beside: "Mapping[str, Batches] | None" = None,
        **dealing: int,
    ) -> None:
        super().__init__(data, **dealing)
        self.beside = beside or {}
        self.size, self.views, self.masks = size, views, masks
        self.grown = 0  # the share of masked faces grows from 0 until this step
        self._read = read or partial(read_crop, size=size)

    def load(self, step: int) -> RawBatch:
        """Read the faces of a step; unreadable ones are left out and named.

        Raises:
            InputError: not one face of the step could be read.
        """
        indices = self.indices(step).tolist()
        faces = [self.data.faces[index] for index in indices]
        readable, crops, broken = read_each(faces, self._read)
        if not readable:
            raise InputError(f"none of the {len(broken)} crops of a step is usable: {broken[0]}")
        kept = [indices[place] for place in readable]
        beside = {name: other.load(step) for name, other in self.beside.items()}
        for other in beside.values():
            broken += other.broken
        places = [crop.place for crop in crops]
        epoch, masks = step // self.steps_per_epoch, self.masks
        if step < self.grown:  # draws of the same seed differ only in who goes without
            masks = replace(masks, probability=masks.probability * (step / self.grown))
        return RawBatch(
            crops=_stack_pixels([crop.pixels for crop in crops]),
            points=torch.from_numpy(np.stack([place.points for place in places])),
            landmarks=torch.from_numpy(np.stack([place.landmarks for place in places])),
            turns=torch.from_numpy(np.stack([place.turn for place in places])),
            label=torch.tensor([faces[place].label for place in readable]),
            index=torch.tensor(kept),
            draws=[draw_view(self.seed, epoch, i, self.views, masks) for i in kept],
            broken=broken,
            context=_stack_contexts(crops),
            beside=beside,
        )


def _stack_pixels(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return pictures of one size as (B, 3, H, W)."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _stack_contexts(crops: Sequence[TrainCrop]) -> Context | None:
    """Return what is seen round those crops that were cut out wide, if any was."""
    wide = [(place, crop.context) for place, crop in enumerate(crops)]
    known = [(place, context) for place, context in wide if context is not None]
    if not known:
        return None
    return Context(
        torch.tensor([place for place, _ in known]),
        _stack_pixels([context.picture for _, context in known]),
        torch.from_numpy(np.stack([context.box for _, context in known])),
    )


def hold_out(data: TrainSet, count: int) -> tuple[TrainSet, TrainSet]:
    """Part a data set into what to train on and what is held out.

    People are held out whole, so that none of them is known from training; faces without identity
    one by one. Who it is follows from the names alone, whatever the order of the sources. It is
    `count` faces if that is no more than a tenth; with the rest of the last person it may become a
    fifth.
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
