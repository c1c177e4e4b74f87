"""A recogniser that sees a masked face through a completion generator's encoder.

One network, three parts: a region predictor finds what is covered, the encoder of a generator says
what it knows of the face, and a reformer makes an embedding of that. No face is drawn.

Paper:
    Ge et al., "Masked Face Recognition with Generative-to-Discriminative Representations", ICML
    2024, arXiv:2405.16761.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard
from mfrkit.models.completion import Completion
from mfrkit.models.reformer import ResNet22, Trunk
from mfrkit.models.region import RegionPredictor
from mfrkit.models.registry import build_network

REFORMERS = ("mobilefacenet", "resnet22")


class GenerativeRecogniser(nn.Module):
    """Map masked faces to embeddings; the region is predicted where none is given.

    Args:
        region: card of the region predictor, as JSON types.
        generator: `architecture` and `arguments` of the generator.
        descriptor: the map at which the generator is left.
        reformer: one of `REFORMERS`.
        widths: channels of the stages of `resnet22`.
        embedding_dim: D, the length of the embedding.
        people: names of the classes of the feature classifier; none for no classifier.
        scale: of the cosines the classifier compares by; 0 if it is linear.

    Raises:
        InputError: parts that are none, or do not fit together.
    """

    def __init__(
        self,
        *,
        region: Mapping[str, Any],
        generator: Mapping[str, Any],
        descriptor: str,
        reformer: str,
        widths: Sequence[int] = (),
        embedding_dim: int = 192,
        people: Sequence[str] = (),
        scale: float = 0.0,
    ) -> None:
        super().__init__()
        card = ModelCard.from_json(region)
        self.region = RegionPredictor(build_network(card.architecture, card.arguments), card)
        encoder = build_network(generator["architecture"], generator["arguments"])
        if not isinstance(encoder, Completion):
            raise InputError(f"{generator['architecture']} is no completion generator")
        if descriptor not in encoder.descriptors:
            raise InputError(
                f"{generator['architecture']} has no descriptor {descriptor!r}; "
                f"known are {', '.join(encoder.descriptors)}"
            )
        shape = encoder.descriptors[descriptor]
        encoder.cut(descriptor)
        self.encoder, self.descriptor = encoder, descriptor
        self.reformer: ResNet22 | Trunk
        if reformer == "resnet22":
            self.reformer = ResNet22(shape, embedding_dim, widths)
        elif reformer == "mobilefacenet":
            self.reformer = Trunk(shape, embedding_dim)
        else:
            raise InputError(f"unknown reformer {reformer!r}; known are {', '.join(REFORMERS)}")
        self.classifier = nn.Linear(embedding_dim, len(people)) if people else None
        self.scale = scale

    def take(self, region: nn.Module, generator: Completion) -> None:
        """Take over the weights of a region network, and those of a generator that encode."""
        self.region.network.load_state_dict(region.state_dict())
        theirs = generator.state_dict()
        self.encoder.load_state_dict({name: theirs[name] for name in self.encoder.state_dict()})

    def train(self, mode: bool = True) -> "GenerativeRecogniser":
        """Set the mode of all but the region predictor, which never trains."""
        super().train(mode)
        self.region.eval()
        return self

    def forward(self, faces: Tensor, region: Tensor | None = None) -> Tensor:
        """Embed faces.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1].
            region: (B, 1, H, W) float in [0, 1], 1 where the face is covered; None to predict it.

        Returns:
            (B, D) float, not of unit length.
        """
        if region is None:
            region = self.region.cover(faces)
        embedding: Tensor = self.reformer(self.encoder.encode(faces, region, self.descriptor))
        return embedding

    def classify(self, embeddings: Tensor) -> Tensor:
        """Return the (B, K) scores of everybody, for (B, D) embeddings of any length.

        Raises:
            InputError: there is no classifier.
        """
        if self.classifier is None:
            raise InputError("the model has no classifier")
        directions = F.normalize(embeddings)
        if self.scale:
            return self.scale * directions @ F.normalize(self.classifier.weight).T
        scores: Tensor = self.classifier(directions)
        return scores


def with_classifier(network: nn.Module, arguments: Mapping[str, Any]) -> GenerativeRecogniser:
    """Return a network of the same weights with a fresh classifier.

    Args:
        network: a `GenerativeRecogniser`; its own classifier, if it has one, stays behind.
        arguments: of the new network: those of the old one, and other people.
    """
    made, weights = GenerativeRecogniser(**arguments), network.state_dict()
    fresh = {k: v for k, v in made.state_dict().items() if k.startswith("classifier.")}
    made.load_state_dict(
        {k: v for k, v in weights.items() if not k.startswith("classifier.")} | fresh
    )
    return made
