"""Photos of people who really wear masks, as faces to train on.

Beside portraits of the same people without, they are held to those; of people of whom there is no
name and no other photo, the teacher's own answer has to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.config import REGION
from mfrkit.errors import InputError
from mfrkit.io.tables import read_covariates
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.real_masks import RealOptions, UnnamedOptions
from mfrkit.methods.views import ViewOptions
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.region import is_masked, load_region
from mfrkit.stages.flow import batched
from mfrkit.training.crops import TrainFace, read_crop, read_each
from mfrkit.training.data import Batches, TrainSet, open_train_set
from mfrkit.training.teacher_cache import embed_all
from mfrkit.training.world import World

# Added to the run's: what is drawn here has nothing to do with the other faces' draws.
REAL_SEED, _UNNAMED_SEED = 2**33, 2**34
_BATCH = 64


@dataclass(frozen=True)
class RealFaces:
    """The people of whom there are both.

    Attributes:
        masked: photos with mask; labels are rows of the portraits' templates.
        portraits: photos without, likewise; each person has at least one.
    """

    masked: TrainSet
    portraits: TrainSet

    @property
    def summary(self) -> str:
        """Say how many there are."""
        masked, portraits = len(self.masked), len(self.portraits)
        people = len(self.portraits.identities)
        return f"{masked} masked faces and {portraits} portraits of {people} people"

    def templates(self, teachers: Sequence[Recogniser], workers: int) -> Tensor:
        """Return the (K, D) mean templates of the portraits, averaged with their mirror images."""
        size = teachers[0].card.input_size or (112, 112)
        dim = sum(teacher.card.embedding_dim or 0 for teacher in teachers)
        sums = torch.zeros(len(self.portraits.identities), dim)
        for rows in embed_all(list(teachers), self.portraits, size, workers):
            labels = [self.portraits.faces[place].label for place in rows.positions.tolist()]
            sums.index_add_(0, torch.tensor(labels), torch.from_numpy(rows.embeddings))
        return F.normalize(sums)

    def batches(
        self,
        options: RealOptions,
        views: ViewOptions,
        size: tuple[int, int],
        seed: int,
        world: World,
    ) -> Batches:
        """Deal the masked faces out to steps; they are aligned with their masks on already."""
        still = replace(views, rotation=0.0, scale=0.0, shift=0.0, align="jitter")
        bare = MaskOptions(probability=0.0)
        return deal_beside(self.masked, still, bare, options.count, size, seed + REAL_SEED, world)


def open_real(sources: Sequence[str], options: RealOptions, size: tuple[int, int]) -> RealFaces:
    """Find the masked faces and the portraits of the same people.

    The options name the table that says which is which; `size` is the crops' (height, width).

    Raises:
        InputError: a source or table that cannot be read, or nobody with both.
    """
    data = open_train_set(sources)
    read = _by_table(data, Path(options.table)) if options.table else _by_region(data, size)
    known = [(face, worn) for face, worn in read if face.label >= 0]
    people = sorted(
        {face.label for face, worn in known if not worn}
        & {face.label for face, worn in known if worn}
    )
    if len(people) < 2:
        raise InputError(
            f"{', '.join(sources)}: {len(people)} people have both a masked photo and a portrait, "
            "at least 2 are needed: a folder for each person, and real.table says which is which"
        )
    row = {label: place for place, label in enumerate(people)}
    names = [data.identities[label] for label in people]
    masked, portraits = (
        replace(
            data,
            identities=names,
            faces=[
                face._replace(label=row[face.label])
                for face, worn in known
                if worn == wanted and face.label in row
            ],
        )
        for wanted in (True, False)
    )
    return RealFaces(masked, portraits)


def _by_table(data: TrainSet, table: Path) -> list[tuple[TrainFace, bool]]:
    """Return the faces a table speaks of, and whether they wear masks."""
    found = read_covariates(table)
    if not {"masked", "portrait"} & set(found.columns):
        raise InputError(f"{table}: has no column `masked` or `portrait`")
    read = []
    for face in data.faces:
        row = found.rows.get(face.record.key)
        if row is None:
            continue
        masked = row.get("masked", "0" if row.get("portrait") == "1" else "1")
        portrait = row.get("portrait", "0" if masked == "1" else "1")
        if {masked, portrait} <= {"0", "1"} and masked != portrait:
            read.append((face, masked == "1"))
    return read


def _by_region(data: TrainSet, size: tuple[int, int]) -> list[tuple[TrainFace, bool]]:
    """Look which faces are covered; unreadable ones are left out."""
    finder = load_region(REGION)
    read: list[tuple[TrainFace, bool]] = []
    for faces in batched(data.faces, _BATCH):
        kept, crops, _ = read_each(faces, partial(read_crop, size=size))
        if kept:
            pixels = torch.from_numpy(np.stack([crop.pixels for crop in crops]))
            region = finder.find(pixels.permute(0, 3, 1, 2).float() / 255)
            worn = is_masked(region).tolist()
            read += zip([faces[place] for place in kept], worn, strict=True)
    return read


@dataclass(frozen=True)
class UnnamedFaces:
    """Aligned crops; names they may have are not looked at."""

    data: TrainSet

    @property
    def summary(self) -> str:
        """Say how many there are."""
        return f"{len(self.data)} masked faces of unknown people"

    def anchors(self, teachers: Sequence[Recogniser], workers: int) -> Tensor:
        """Return the (N, D) templates of all photos, averaged with their mirror images."""
        size = teachers[0].card.input_size or (112, 112)
        dim = sum(teacher.card.embedding_dim or 0 for teacher in teachers)
        found = torch.zeros(len(self.data), dim)
        for rows in embed_all(list(teachers), self.data, size, workers):
            found[torch.from_numpy(rows.positions)] = torch.from_numpy(rows.embeddings)
        return F.normalize(found)

    def batches(
        self,
        options: UnnamedOptions,
        views: ViewOptions,
        masks: MaskOptions,
        size: tuple[int, int],
        seed: int,
        world: World,
    ) -> Batches:
        """Deal the faces out to steps, each with a mask drawn over its own in one of its views."""
        always = replace(masks, probability=1.0)
        return deal_beside(
            self.data, views, always, options.count, size, seed + _UNNAMED_SEED, world
        )


def open_unnamed(sources: Sequence[str]) -> UnnamedFaces:
    """List aligned crops of folders, manifests or archives; errors as `open_train_set`."""
    return UnnamedFaces(open_train_set(sources))


def deal_beside(
    data: TrainSet,
    views: ViewOptions,
    masks: MaskOptions,
    count: int,
    size: tuple[int, int],
    seed: int,
    world: World,
) -> Batches:
    """Deal faces out to steps that a run takes beside its own, `count` over all processes."""
    return Batches(
        data,
        size=size,
        views=views,
        masks=masks,
        seed=seed,
        batch_size=count,
        rank=world.rank,
        world=world.size,
    )
