"""Templates to train on: those of masked faces, each with the one the bare face has.

They come from embedding files, whoever wrote them: rows marked as masked are paired with the
others by key (`a.mask2` is a version of `a`), and where there is no such key with the mean of the
person's unmasked templates. Crops are embedded into such files once without masks and some times
with, so that they can be trained on again by name.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.console import Console, Progress
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.people import photo_name
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.methods.eum import TemplateBatch
from mfrkit.methods.views import ViewOptions
from mfrkit.metrics.all_pairs import unit_rows
from mfrkit.models.engine import EmbeddedFaces, EmbedEngine
from mfrkit.models.recogniser import Recogniser
from mfrkit.stages.embed import origin
from mfrkit.stages.sink import Tally
from mfrkit.stages.vectors import check_alike, concatenate
from mfrkit.training.data import Batches, DataSet, Deal, Drawn, RawBatch, TrainSet
from mfrkit.training.run import paired_views


@dataclass(frozen=True, eq=False)
class TemplateSet(DataSet):
    """M templates and what each should become.

    Attributes:
        templates: (M, D) float32, unit norm.
        targets: (T, D) float32, unit norm: unmasked templates, and means over those of a person.
        target: (M,) int64, row of `targets`; of a face without mask its own.
        worn: (M,) bool, whether the face wears a mask.
        label: (M,) int64 identity, -1 where unknown.
        attributes: what the files say of the recogniser.
    """

    templates: Tensor
    targets: Tensor
    target: Tensor
    worn: Tensor
    label: Tensor
    attributes: dict[str, Any]

    def __len__(self) -> int:
        return len(self.templates)

    def batch(self, index: Tensor, device: torch.device) -> TemplateBatch:
        """Return the (B,) templates asked for, on a device."""
        return TemplateBatch(
            template=self.templates[index].to(device),
            target=self.targets[self.target[index]].to(device),
            worn=self.worn[index].to(device),
            label=self.label[index].to(device),
        )


class TemplateBatches(Deal):
    """Deal out templates, which are in memory already."""

    data: TemplateSet

    def load(self, step: int) -> Drawn:
        """Return the places of a step."""
        index = torch.from_numpy(self.indices(step))
        return Drawn(self.data.label[index], index, broken=[])


def are_template_files(sources: Sequence[str]) -> bool:
    """Whether data to train on are embedding files, by their names.

    Example:
        >>> are_template_files(["clean.h5", "masked.h5"]), are_template_files(["crops"])
        (True, False)
    """
    return all(Path(source).suffix in (".h5", ".hdf5") for source in sources)


def read_templates(paths: Sequence[Path]) -> TemplateSet:
    """Read embedding files and pair their masked rows with the unmasked ones.

    Raises:
        InputError: unusable files, files of different recognisers, no row marked as masked, or
            none with a counterpart.
    """
    rows, attributes = _read(paths)
    unit, usable = unit_rows(rows.embeddings)
    worn = rows.masked == 1
    if not worn.any():
        raise InputError(
            f"{', '.join(map(str, paths))}: no row is marked as masked (masked = 1); "
            "mfrkit embed marks those of faces from synth-mask, or with --detect-mask"
        )
    bare = np.flatnonzero(usable & ~worn)
    labels = {name: n for n, name in enumerate(dict.fromkeys(filter(None, rows.identities)))}
    label = np.array([labels.get(name, -1) for name in rows.identities], np.int64)
    target, targets = _pair_up(rows, unit, label, worn, bare)
    tally = Tally()
    for _ in range(int((~usable).sum())):
        tally.add_skipped("no vector")
    for _ in range(int((usable & (target < 0)).sum())):
        tally.add_skipped("masked, without an unmasked template of the photo or person")
    kept = np.flatnonzero(usable & (target >= 0))
    kept = np.concatenate([kept[worn[kept]], kept[~worn[kept]]])
    if not worn[kept].any():
        raise InputError(
            f"{', '.join(map(str, paths))}: no masked row has the key or the identity of an "
            "unmasked one; embed the same crops with and without masks"
        )
    return TemplateSet(
        identities=list(labels),
        tally=tally,
        templates=torch.from_numpy(unit[kept]),
        targets=torch.from_numpy(targets),
        target=torch.from_numpy(target[kept]),
        worn=torch.from_numpy(worn[kept]),
        label=torch.from_numpy(label[kept]),
        attributes=attributes,
    )


def _read(paths: Sequence[Path]) -> tuple[Rows, dict[str, Any]]:
    found, attributes = [], []
    for path in paths:
        with EmbeddingReader(path) as reader:
            attributes.append({**reader.attributes, "dim": reader.dim})
            found.append(reader.block(0, reader.count))
    check_alike(paths, attributes)
    total = sum(len(block.keys) for block in found)
    return concatenate(found, np.arange(total)), attributes[0]


def _pair_up(
    rows: Rows,
    unit: NDArray[np.float32],
    label: NDArray[np.int64],
    worn: NDArray[np.bool_],
    bare: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find what each row should become.

    Returns:
        (N,) int64 places among the targets, -1 for none; and the targets: the rows of `bare`, then
        the mean direction of each person among them.
    """
    place = {rows.keys[row]: at for at, row in enumerate(bare.tolist())}
    if len(place) < len(bare):
        raise InputError("two unmasked rows have the same key; name each file once")
    known = bare[label[bare] >= 0]
    people, person = np.unique(label[known], return_inverse=True)
    sums = np.zeros((len(people), unit.shape[1]))
    np.add.at(sums, person, unit[known])
    means = {int(who): len(bare) + at for at, who in enumerate(people)}
    target = np.full(len(worn), -1, np.int64)
    target[bare] = np.arange(len(bare))
    for row in np.flatnonzero(worn).tolist():
        key = rows.keys[row]
        by_key = place.get(key, place.get(photo_name(key)))
        target[row] = means.get(int(label[row]), -1) if by_key is None else by_key
    return target, np.concatenate([unit[bare], unit_rows(sums)[0]])


def stand_in(crops: TrainSet, dim: int, versions: int) -> TemplateSet:
    """Return as many templates as the crops would give, made up, for a run that embeds nothing.

    Args:
        crops: the data.
        dim: D.
        versions: masked versions of each crop.
    """
    count = len(crops)
    bare = torch.nn.functional.normalize(torch.randn(count, dim))
    return TemplateSet(
        identities=crops.identities,
        tally=crops.tally,
        templates=bare.repeat(1 + versions, 1),
        targets=bare,
        target=torch.arange(count).repeat(1 + versions),
        worn=torch.arange((1 + versions) * count) < versions * count,
        label=torch.full(((1 + versions) * count,), -1),
        attributes={},
    )


_BATCH = 64


class InOrder(Batches):
    """Show all faces in the order they have, once an epoch; each epoch draws views of its own.

    Args:
        data: the crops.
        size: (height, width) they must have.
        views: how far masked views may vary.
        masks: what is drawn on them.
        seed: of everything drawn.
        renderer: draws the masks; None for one without masks of the user's own.
    """

    def __init__(
        self,
        data: TrainSet,
        size: tuple[int, int],
        views: ViewOptions,
        masks: MaskOptions,
        seed: int,
        renderer: MaskRenderer | None = None,
    ) -> None:
        self.renderer = renderer
        super().__init__(data, size=size, views=views, masks=masks, seed=seed, batch_size=_BATCH)
        self.steps_per_epoch = -(-len(data) // _BATCH)

    def indices(self, step: int) -> NDArray[np.int64]:
        """Return the places of a step's faces; all steps have about as many."""
        pieces = np.array_split(np.arange(len(self.data)), self.steps_per_epoch)
        return pieces[step % self.steps_per_epoch]

    def epoch(self, number: int, workers: int) -> Iterator[RawBatch]:
        """Yield the batches of an epoch."""
        first = number * self.steps_per_epoch
        return self.stream(first, first + self.steps_per_epoch, workers)


def template_files(folder: Path, versions: int) -> list[Path]:
    """Return the files of a run: first that without masks, then each with."""
    return [folder / f"templates-{version}.h5" for version in range(versions + 1)]


def write_templates(
    paths: Sequence[Path], recogniser: Recogniser, faces: InOrder, workers: int, console: Console
) -> None:
    """Embed every crop, for the first file as it is, for each other with a mask of its own.

    Files that are there already are kept. Each appears when it is complete.

    Args:
        paths: files to write.
        recogniser: on the device it runs on.
        faces: the crops.
        workers: threads.
        console: narration.

    Raises:
        InputError: no crop of a batch is usable.
        WeightsError: the recogniser gives nonsense.
    """
    pending = [version for version, path in enumerate(paths) if not path.exists()]
    attributes = origin(recogniser.card, flip=True)
    with (
        EmbedEngine(recogniser, workers=workers) as engine,
        console.progress("templates", len(faces.data) * len(pending)) as bar,
    ):
        for version in pending:
            blocks = _embed(engine, faces, version, workers, console, bar)
            write_embeddings(paths[version], blocks, recogniser.card.embedding_dim or 0, attributes)


def _embed(
    engine: EmbedEngine,
    faces: InOrder,
    version: int,
    workers: int,
    console: Console,
    bar: Progress,
) -> Iterator[Rows]:
    views = paired_views(faces.views, engine.device, faces.renderer)
    under_way: deque[RawBatch] = deque()

    def crops() -> Iterator[NDArray[np.uint8]]:
        for raw in faces.epoch(version, workers):
            under_way.append(raw)
            shown = raw.crops if version == 0 else to_uint8(views(raw).masked).cpu()
            yield shown.permute(0, 2, 3, 1).contiguous().numpy()

    for found in engine.map(crops()):
        raw = under_way.popleft()
        for line in raw.broken if version == 0 else ():
            console.warn(f"left out {line}")
        bar.update(len(raw.index) + len(raw.broken))
        yield _to_rows(faces.data, raw, found, worn=version > 0)


def _to_rows(data: TrainSet, raw: RawBatch, found: EmbeddedFaces, *, worn: bool) -> Rows:
    places = raw.index.tolist()
    return replace(
        Rows.empty(),
        embeddings=found.vectors,
        # The place makes keys differ that two sources share.
        keys=[f"{data.faces[place].record.key}#{place}" for place in places],
        identities=[data.identities[n] if n >= 0 else "" for n in raw.label.tolist()],
        norms=found.norms,
        masked=np.full(len(places), worn, np.int8),
        mask_type=[draw.spec.kind if worn else "" for draw in raw.draws],
        positions=raw.index.numpy(),
    )
