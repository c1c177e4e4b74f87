"""A recogniser that first looks behind the mask: find the cover, complete the face, embed it.

Paper:
    Li et al., "Look Through Masks: Towards Masked Face Recognition with De-Occlusion Distillation",
    ACM MM 2020, arXiv:2409.12385: the generator before the student.
    Differs: the paper does not say where the region comes from; here a third network predicts it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard, Task
from mfrkit.models.completion import Completion
from mfrkit.models.recogniser import LooksFirst, Recogniser, part_for
from mfrkit.models.region import RegionPredictor
from mfrkit.models.registry import build_network, load_for_task


class CompletingRecogniser(LooksFirst):
    """Three networks as one: region predictor, generator, recogniser.

    Args:
        region: says what is covered.
        generator: fills it.
        recogniser: sees the completed face.

    Example:
        >>> import torch
        >>> cards = [
        ...     ModelCard(name="r", task="region", architecture="region").to_json(),
        ...     ModelCard(name="c", task="completion", architecture="completion-small").to_json(),
        ...     ModelCard(name="a", task="recognition", architecture="mobilefacenet").to_json(),
        ... ]
        >>> build_completing(*cards).eval()(torch.rand(1, 3, 112, 112)).shape
        torch.Size([1, 192])
    """

    def __init__(
        self, region: RegionPredictor, generator: Completion, recogniser: Recogniser
    ) -> None:
        super().__init__()
        self.region, self.generator, self.recogniser = region, generator, recogniser

    def forward(self, faces: Tensor, region: Tensor | None = None) -> Tensor:
        """Embed faces.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1], of the recogniser's input size.
            region: (B, 1, H, W) float in [0, 1], 1 where a face is covered; None predicts it.

        Returns:
            (B, D) float, not of unit length.

        Raises:
            ShapeError: faces of another shape or size.
        """
        return self.embed(self.complete(faces, region))

    def look(self, faces: Tensor) -> Tensor:
        """Return the completed faces."""
        return self.complete(faces)

    def embed(self, looked: Tensor) -> Tensor:
        """Return the (B, D) features of completed faces."""
        return self.recogniser.features(looked)

    def complete(self, faces: Tensor, region: Tensor | None = None) -> Tensor:
        """Return the (B, 3, H, W) faces the recogniser sees; arguments as for `forward`."""
        if region is None:
            region = self.region.cover(faces)
        completed: Tensor = self.generator(faces, region)
        return completed


def build_completing(
    region: Mapping[str, Any], generator: Mapping[str, Any], recogniser: Mapping[str, Any]
) -> CompletingRecogniser:
    """Build the three networks with fresh weights.

    Args:
        region: card of the region predictor, as JSON types.
        generator: card of the completion generator.
        recogniser: card of the recogniser.

    Raises:
        WeightsError: a damaged card.
        InputError: an architecture that does not exist, or is no generator.
    """
    cards = [ModelCard.from_json(each) for each in (region, generator, recogniser)]
    tasks: tuple[Task, ...] = ("region", "completion", "recognition")
    networks = [
        part_for(task, build_network(card.architecture, card.arguments), card)
        for task, card in zip(tasks, cards, strict=True)
    ]
    if not isinstance(networks[1], Completion):
        raise InputError(f"{cards[1].name}: {cards[1].architecture} is no completion generator")
    return CompletingRecogniser(
        RegionPredictor(networks[0], cards[0]), networks[1], Recogniser(networks[2], cards[2])
    )


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
    sizes = {card.input_size for card in (region, generator, recogniser)}
    if len(sizes) > 1:
        raise InputError(
            f"{region.name}, {generator.name} and {recogniser.name} take crops of different sizes: "
            f"{', '.join(map(str, sizes))}"
        )
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
