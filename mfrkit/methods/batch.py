"""What a training step sees: two views of the same faces."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class FaceBatch:
    """B faces, as the student and as the teacher see them.

    Attributes:
        masked: (B, 3, H, W) float32 RGB in [0, 1], the student's view; not every face wears a mask.
        clean: (B, 3, H, W) float32 RGB in [0, 1], the teacher's view: no mask, the same mirroring
            and the same light.
        region: (B, 1, H, W) float32 in [0, 1], how much of each pixel of `masked` the mask covers.
        label: (B,) int64 identity, -1 where unknown.
        index: (B,) int64, place of the face in the data set.
        template: (B, D) float32, the teacher's embedding where it is known already.
        centre: (B, D) float32, unit mean of the teacher's embeddings of the face's person, or of
            the face alone where the person is unknown; known where all templates are.
        real: faces of people who really wear masks, in `masked`; their labels are rows of the
            portraits they are held to.
        unnamed: really masked faces of unknown people, in `clean` as they are, in `masked` with
            another mask drawn over theirs.
    """

    masked: Tensor
    clean: Tensor
    region: Tensor
    label: Tensor
    index: Tensor
    template: Tensor | None = None
    centre: Tensor | None = None
    real: "FaceBatch | None" = None
    unnamed: "FaceBatch | None" = None

    @property
    def worn(self) -> Tensor:
        """Return (B,) bool: whether the face wears a mask."""
        return self.region.flatten(1).amax(1) > 0

    def __len__(self) -> int:
        return len(self.masked)

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut rows, of these faces, the real ones and both views of the unnamed, into three."""
        real, unnamed = (0 if each is None else len(each) for each in (self.real, self.unnamed))
        own, real, unnamed = rows.split([len(self), real, 2 * unnamed])
        return own, real, unnamed

    def by_view(self, values: Tensor) -> dict[str, Tensor]:
        """Return the means of (B,) values over the masked and the unmasked faces there are."""
        worn = self.worn
        named = {"masked": values[worn], "unmasked": values[~worn]}
        return {name: some.mean() for name, some in named.items() if len(some)}

    def with_templates(self, template: Tensor, centre: Tensor) -> "FaceBatch":
        """Return the same faces with their teacher's embeddings and those' means."""
        return replace(self, template=template, centre=centre)

    @classmethod
    def of(cls, masked: Tensor, clean: Tensor) -> "FaceBatch":
        """Return a batch of unknown people with no mask drawn, for tests and examples."""
        unknown = torch.full((len(masked),), -1, dtype=torch.int64)
        region = torch.zeros_like(masked[:, :1])
        return cls(masked, clean, region, unknown, torch.arange(len(masked)))
