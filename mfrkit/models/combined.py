"""Recognisers of one embedding space as one: bare faces go to one of them, masked faces to others.

Students distilled from a teacher's templates place masked faces where the teacher places bare ones.
So the teacher itself can keep the bare faces, at no price, and what several students say of a
masked face can be averaged.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard, Task
from mfrkit.models.multitask import part_for
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.region import RegionPredictor, decided, is_masked
from mfrkit.models.registry import build_network


class CombinedRecogniser(nn.Module):
    """A region predictor that tells masked faces, and recognisers for both sorts.

    Args:
        region: says what is covered.
        unmasked: embeds bare faces.
        masked: embed masked faces, one or more, of the same embedding space.

    Example:
        >>> region = ModelCard(name="r", task="region", architecture="region").to_json()
        >>> face = ModelCard(name="a", task="recognition", architecture="mobilefacenet").to_json()
        >>> build_combined(region, face, [face, face]).eval()(torch.rand(2, 3, 112, 112)).shape
        torch.Size([2, 192])
    """

    def __init__(
        self, region: RegionPredictor, unmasked: Recogniser, masked: Sequence[Recogniser]
    ) -> None:
        super().__init__()
        self.region, self.unmasked = region, unmasked
        self.masked = nn.ModuleList(masked)

    @property
    def recognisers(self) -> list[Recogniser]:
        """Return those of masked faces."""
        return [cast(Recogniser, each) for each in self.masked]

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1], of the recognisers' input size.

        Returns:
            (B, D) float, not of unit length: of a bare face what its recogniser gives; of a masked
            one the mean direction, and the mean length, of what the others give.

        Raises:
            ShapeError: faces of another shape or size.
        """
        with torch.no_grad():
            worn = is_masked(decided(self.region(faces)))
        if torch.jit.is_tracing():  # a recording knows no choice: everything is computed
            return torch.where(worn[:, None], self._together(faces), self.unmasked.features(faces))
        # Each part sees its own faces alone: that is what most of the time goes into.
        if not bool(worn.any()):
            return self.unmasked.features(faces)
        together = self._together(faces[worn])
        if bool(worn.all()):
            return together
        embeddings = together.new_empty(len(faces), together.shape[1])
        embeddings[worn] = together
        embeddings[~worn] = self.unmasked.features(faces[~worn])
        return embeddings

    def _together(self, faces: Tensor) -> Tensor:
        """Return what the recognisers of masked faces say in the mean."""
        said = torch.stack([each.features(faces) for each in self.recognisers])
        length = said.norm(dim=2, keepdim=True).mean(0)
        return F.normalize(F.normalize(said, dim=2).mean(0)) * length


def build_combined(
    region: Mapping[str, Any], unmasked: Mapping[str, Any], masked: Sequence[Mapping[str, Any]]
) -> CombinedRecogniser:
    """Build all networks with fresh weights, from their cards as JSON types.

    Raises:
        WeightsError: a damaged card.
        InputError: an architecture that does not exist.
    """

    def built(card: Mapping[str, Any], task: Task) -> tuple[nn.Module, ModelCard]:
        own = ModelCard.from_json(card)
        return part_for(task, build_network(own.architecture, own.arguments), own), own

    return CombinedRecogniser(
        RegionPredictor(*built(region, "region")),
        Recogniser(*built(unmasked, "recognition")),
        [Recogniser(*built(each, "recognition")) for each in masked],
    )


def combined_card(
    name: str, region: ModelCard, unmasked: ModelCard, masked: Sequence[ModelCard]
) -> ModelCard:
    """Return the card of all as one: it is fed plain RGB in [0, 1].

    Raises:
        InputError: they take crops of different sizes, or embed in different spaces.
    """
    recognisers = (unmasked, *masked)
    for what, values in (
        ("take crops of different sizes", {c.name: c.input_size for c in (region, *recognisers)}),
        ("give embeddings of different lengths", {c.name: c.embedding_dim for c in recognisers}),
    ):
        if len(set(values.values())) > 1:
            shown = ", ".join(f"{name} {value}" for name, value in values.items())
            raise InputError(f"these models {what}: {shown}")
    parts = [card.as_part().to_json() for card in (region, *recognisers)]
    return ModelCard(
        name=name,
        task="recognition",
        architecture="combined",
        arguments={"region": parts[0], "unmasked": parts[1], "masked": parts[2:]},
        input_size=unmasked.input_size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        embedding_dim=unmasked.embedding_dim,
        licence="; ".join(dict.fromkeys(c.licence for c in (region, *recognisers) if c.licence)),
        source=f"{region.name}; {unmasked.name} for bare faces, "
        f"{', '.join(card.name for card in masked)} for masked ones",
    )
