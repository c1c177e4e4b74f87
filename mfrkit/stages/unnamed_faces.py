"""Photos of people who really wear masks, of whom there is no name and no other photo."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.masks.options import MaskOptions
from mfrkit.methods.real_masks import UnnamedOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.models.recogniser import Recogniser
from mfrkit.stages.teacher_cache import embed_all
from mfrkit.stages.train_data import Batches, TrainSet, open_train_set
from mfrkit.stages.world import World

_SEED = 2**34  # added to the run's, as in `real_faces`


@dataclass(frozen=True)
class UnnamedFaces:
    """The photos; names they may have are not looked at.

    Attributes:
        data: aligned crops.
    """

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
        return Batches(
            self.data,
            size=size,
            views=views,
            masks=replace(masks, probability=1.0),
            seed=seed + _SEED,
            batch_size=options.count,
            rank=world.rank,
            world=world.size,
        )


def open_unnamed(sources: Sequence[str]) -> UnnamedFaces:
    """List the faces.

    Args:
        sources: folders, manifests or archives of aligned crops.

    Raises:
        InputError: a source that cannot be read, or no crops at all.
    """
    return UnnamedFaces(open_train_set(sources))
