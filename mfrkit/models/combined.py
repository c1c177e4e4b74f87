"""Several models as one recogniser.

Of one embedding space: students distilled from a teacher's templates place masked faces where the
teacher places bare ones. So the teacher itself can keep the bare faces, at no price, and what
several students say of a masked face can be averaged.

Of different spaces: laid side by side, so that the cosine is the mean of theirs.

Or one after another: find what covers a face, complete it, embed what comes out.

Paper:
    Li et al., "Look Through Masks: Towards Masked Face Recognition with De-Occlusion Distillation",
    ACM MM 2020, arXiv:2409.12385: the generator before the student.
    Differs: the paper does not say where the region comes from; here a third network predicts it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard, Task
from mfrkit.models.completion import Completion
from mfrkit.models.recogniser import OwnViews, Recogniser, embed_faces, part_for
from mfrkit.models.region import RegionPredictor, decided, is_masked
from mfrkit.models.registry import build_network, load_for_task
from mfrkit.models.spaces import side_by_side


class CombinedRecogniser(nn.Module):
    """A region predictor that tells masked faces, and recognisers for both sorts.

    Args:
        region: says what is covered.
        unmasked: embeds bare faces.
        masked: embed masked faces, one or more, of the same embedding space.
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
        """Embed faces, (B, 3, H, W) float, RGB in [0, 1], of the recognisers' input size.

        Returns:
            (B, D) float, not of unit length: of a bare face what its recogniser gives; of a masked
            one the mean direction, and the mean length, of what the others give.
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
    """Build all networks with fresh weights, from their cards as JSON types."""
    return CombinedRecogniser(
        RegionPredictor(*_built(region, "region")),
        Recogniser(*_built(unmasked, "recognition")),
        [Recogniser(*_built(each, "recognition")) for each in masked],
    )


def _built(card: Mapping[str, Any], task: Task) -> tuple[nn.Module, ModelCard]:
    own = ModelCard.from_json(card)
    return part_for(task, build_network(own.architecture, own.arguments), own), own


def combined_card(
    name: str, region: ModelCard, unmasked: ModelCard, masked: Sequence[ModelCard]
) -> ModelCard:
    """Return the card of all as one: it is fed plain RGB in [0, 1].

    Raises:
        InputError: they take crops of different sizes, or embed in different spaces.
    """
    recognisers = (unmasked, *masked)
    _check_alike("take crops of different sizes", (region, *recognisers), "input_size")
    _check_alike("give embeddings of different lengths", recognisers, "embedding_dim")
    parts = [card.as_part().to_json() for card in (region, *recognisers)]
    return _plain(
        name,
        (region, *recognisers),
        architecture="combined",
        arguments={"region": parts[0], "unmasked": parts[1], "masked": parts[2:]},
        embedding_dim=unmasked.embedding_dim,
        source=f"{region.name}; {unmasked.name} for bare faces, "
        f"{', '.join(card.name for card in masked)} for masked ones",
    )


class SideBySide(OwnViews):
    """Recognisers of different spaces, for crops of one size, whose cosines are averaged.

    Args:
        recognisers: at least two.
        shares: of each in the cosine, their sum 1.
    """

    def __init__(self, recognisers: Sequence[Recogniser], shares: Sequence[float]) -> None:
        super().__init__()
        self.parts, self.shares = nn.ModuleList(recognisers), list(shares)
        # Written to the file, so that with other shares it is a model of another hash.
        self.register_buffer("weights", torch.tensor(shares, dtype=torch.float32))

    @property
    def recognisers(self) -> list[Recogniser]:
        """Return the parts."""
        return [cast(Recogniser, each) for each in self.parts]

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces as they are; (B, sum of D) float, not of unit length."""
        return self._row(faces, flip=False)

    def average(self, faces: Tensor) -> Tensor:
        """Embed faces, each part averaging with the mirror image by itself; see `OwnViews`."""
        return self._row(faces, flip=True)

    def _row(self, faces: Tensor, *, flip: bool) -> Tensor:
        """Return the unit vectors side by side, times the mean of their lengths."""
        said = [embed_faces(each, faces, flip=flip) for each in self.recognisers]
        length = torch.stack([each.norm(dim=1, keepdim=True) for each in said]).mean(0)
        units = [F.normalize(each) for each in said]
        row: Tensor = side_by_side(units, self.shares, torch.cat)
        return row * length


def build_side_by_side(parts: Sequence[Mapping[str, Any]], shares: Sequence[float]) -> SideBySide:
    """Build all networks with fresh weights, from their cards as JSON types."""
    return SideBySide([Recogniser(*_built(each, "recognition")) for each in parts], shares)


def side_by_side_card(name: str, parts: Sequence[ModelCard], shares: Sequence[float]) -> ModelCard:
    """Return the card of all as one: it is fed plain RGB in [0, 1].

    Raises:
        InputError: they take crops of different sizes.
    """
    _check_alike("take crops of different sizes", parts, "input_size")
    return _plain(
        name,
        parts,
        architecture="side-by-side",
        arguments={"parts": [c.as_part().to_json() for c in parts], "shares": list(shares)},
        embedding_dim=sum(card.embedding_dim or 0 for card in parts),
        source="mean of the cosines of "
        + ", ".join(f"{c.name} ({share:.3g})" for c, share in zip(parts, shares, strict=True)),
    )


def _plain(name: str, cards: Sequence[ModelCard], **others: Any) -> ModelCard:
    """Return the card of a recogniser made of others, which normalise for themselves."""
    return ModelCard(
        name=name,
        task="recognition",
        input_size=cards[-1].input_size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        licence="; ".join(dict.fromkeys(card.licence for card in cards if card.licence)),
        **others,
    )


def _check_alike(difference: str, cards: Sequence[ModelCard], field: str) -> None:
    found = dict.fromkeys((card.name, getattr(card, field)) for card in cards)
    if len({value for _, value in found}) > 1:
        shown = ", ".join(f"{name} {value}" for name, value in found)
        raise InputError(f"these models {difference}: {shown}")


class CompletingRecogniser(OwnViews):
    """Three networks as one: region predictor, generator, recogniser of the completed face."""

    def __init__(
        self, region: RegionPredictor, generator: Completion, recogniser: Recogniser
    ) -> None:
        super().__init__()
        self.region, self.generator, self.recogniser = region, generator, recogniser

    def forward(self, faces: Tensor, region: Tensor | None = None) -> Tensor:
        """Embed faces, of the recogniser's input size: (B, D) float, not of unit length.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1].
            region: (B, 1, H, W) float in [0, 1], 1 where a face is covered; None predicts it.
        """
        return self.recogniser.features(self.complete(faces, region))

    def average(self, faces: Tensor) -> Tensor:
        """Complete a face once, not its mirror image too: half the work; see `OwnViews`."""
        return embed_faces(self.recogniser, self.complete(faces))

    def complete(self, faces: Tensor, region: Tensor | None = None) -> Tensor:
        """Return the (B, 3, H, W) faces the recogniser sees; arguments as for `forward`."""
        if region is None:
            region = self.region.cover(faces)
        return self.generator(faces, region)


def build_completing(
    region: Mapping[str, Any], generator: Mapping[str, Any], recogniser: Mapping[str, Any]
) -> CompletingRecogniser:
    """Build the three networks with fresh weights, from their cards as JSON types.

    Raises:
        WeightsError: a damaged card.
        InputError: an architecture that does not exist, or is no generator.
    """
    finder = RegionPredictor(*_built(region, "region"))
    network, card = _built(generator, "completion")
    if not isinstance(network, Completion):
        raise InputError(f"{card.name}: {card.architecture} is no completion generator")
    inner = Recogniser(*_built(recogniser, "recognition"))
    return CompletingRecogniser(finder, network, inner)


def load_generator(model: str) -> tuple[Completion, ModelCard]:
    """Load a completion generator, in eval mode, and its card; errors as `load_for_task`."""
    network, card = load_for_task(model, "completion")
    if not isinstance(network, Completion):
        raise InputError(f"{model}: {card.architecture} is no completion generator")
    return network, card


def completing_card(region: ModelCard, generator: ModelCard, recogniser: ModelCard) -> ModelCard:
    """Return the card of the three as one: it is fed plain RGB in [0, 1].

    Raises:
        InputError: they take crops of different sizes.
    """
    _check_alike("take crops of different sizes", (region, generator, recogniser), "input_size")
    parts = {"region": region, "generator": generator, "recogniser": recogniser}
    bare = {name: card.as_part() for name, card in parts.items()}
    return replace(
        bare["recogniser"],
        architecture="completing",
        arguments={name: card.to_json() for name, card in bare.items()},
        colour="RGB",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        note="",
    )
