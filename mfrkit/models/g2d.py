"""G2D's networks: a recogniser that sees a masked face through a completion generator's encoder.

One network, three parts: a region predictor finds what is covered, the encoder of a generator
says what it knows of the face, and a reformer makes an embedding of that. No face is drawn.

Paper:
    Ge et al., "Masked Face Recognition with Generative-to-Discriminative Representations", ICML
    2024, arXiv:2405.16761. The generator is the guided upsampler of ICT, a plain residual
    network: Wan, Zhang, Chen, Liao, "High-Fidelity Pluralistic Image Completion with
    Transformers", ICCV 2021, arXiv:2103.14031, section 3.3, with the layer sizes of its published
    code. The output of one of its residual blocks is the descriptor of a face.
    Differs: no transformer draws a small picture first; the upsampler sees the masked face and the
    region alone, four channels instead of six. Faces of another size are resized to its own.
    Beside the paper's small residual reformer there is the trunk of MobileFaceNet, entered where
    its own maps are as fine as the descriptor, so that it can start from a teacher's weights.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard
from mfrkit.models.completion import Completion, Descriptor
from mfrkit.models.mobilefacenet import MobileFaceNet, Unit
from mfrkit.models.recogniser import resized
from mfrkit.models.region import RegionPredictor
from mfrkit.models.registry import build_network

_REDUCTION = 4  # pixels of its own picture along one of its features
_DILATION = 2


class GuidedUpsampler(Completion):
    """Complete faces at 256x256 with residual blocks at a quarter of that: 10,774,595 parameters.

    Args:
        width: channels of the first layer; 64 in the paper.
        blocks: residual blocks, each of which is a descriptor; 8 in the paper.
        side: of the picture it works at; 0 takes faces as they come.
        margin: pixels of the face by which a region is grown.
    """

    def __init__(self, width: int = 64, blocks: int = 8, side: int = 256, margin: int = 2) -> None:
        super().__init__(margin, multiple=1 if side else _REDUCTION)
        c, self.side = width, side
        names = [f"block_{number}" for number in range(blocks, 0, -1)]
        map_side = (side or 112) // _REDUCTION
        self.descriptors = {name: Descriptor(4 * c, map_side) for name in names}
        self.stem = nn.Sequential(
            nn.Conv2d(4, c, 7, padding=3, padding_mode="reflect"),
            nn.ReLU(),
            nn.Conv2d(c, 2 * c, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(2 * c, 4 * c, 4, 2, 1),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(_Block(4 * c) for _ in names))
        self.draw = nn.Sequential(
            nn.ConvTranspose2d(4 * c, 2 * c, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * c, c, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(c, 3, 7, padding=3, padding_mode="reflect"),
        )

    def encode(self, faces: Tensor, region: Tensor, descriptor: str = "") -> Tensor:
        """Return the output of a residual block, the last one if no other is named."""
        self.check(faces, region)
        count = _number(descriptor) if descriptor else len(self.blocks)
        return self.blocks[:count](self._stem(faces, self.hole(region)))

    def cut(self, descriptor: str) -> None:
        """Let go of the blocks behind a descriptor, and of the decoder."""
        del self.blocks[_number(descriptor) :]
        del self.draw

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the faces at once; as in `Completion`."""
        drawn = torch.tanh(self.draw(self.blocks(self._stem(faces, hole))).float())
        return [resized((drawn + 1) / 2, faces.shape[2:])]

    def _stem(self, faces: Tensor, hole: Tensor) -> Tensor:
        shown = torch.cat([torch.lerp(faces, torch.ones_like(faces), hole), hole], 1)  # white holes
        own = (self.side, self.side) if self.side else faces.shape[2:]
        return self.stem(resized(shown, own))


class _Block(nn.Module):
    """Two 3x3 layers without norm beside a straight path; the first looks farther."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.far = _reflecting(width, _DILATION)
        self.near = _reflecting(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.near(F.relu(self.far(x)))
        return x + added


def _reflecting(width: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, padding_mode="reflect")


def _number(descriptor: str) -> int:
    return int(descriptor.removeprefix("block_"))


_FINAL_SIDE = 7  # about what the last feature map is brought down to
# Side of a descriptor -> where MobileFaceNet has maps of that side: channels, first block kept.
_ENTRIES = {56: (64, 0), 28: (64, 1), 14: (128, 6)}


class ResNet22(nn.Module):
    """The paper's reformer: one convolution, four stages of two basic blocks, pooling, one layer.

    Paper:
        22 layers, counted as 1 + 4 (4 + 1) + 1, a stage's fifth being the projection of its first
        block. Blocks: He et al., CVPR 2016, arXiv:1512.03385.
        Differs: widths are the caller's (the paper gives none), and the last stages halve the map
        as often as it takes to come down to 7x7. The convolution has the first stage's width.
    """

    def __init__(self, descriptor: Descriptor, embedding_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        first = widths[0]
        self.enter = nn.Sequential(*_layer(descriptor.channels, first, 3), nn.ReLU())
        halvings = min(len(widths), max(0, round(math.log2(descriptor.side / _FINAL_SIDE))))
        self.stages = nn.Sequential()
        for place, (inputs, outputs) in enumerate(pairwise((first, *widths))):
            stride = 2 if place >= len(widths) - halvings else 1
            self.stages.append(_Basic(inputs, outputs, stride, project=True))
            self.stages.append(_Basic(outputs, outputs))
        self.fc = nn.Linear(widths[-1], embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) descriptors to (B, D) embeddings, not of unit length."""
        return self.fc(self.stages(self.enter(features)).mean((2, 3)))


class Trunk(nn.Module):
    """MobileFaceNet from some block on, with a learned 3x3 convolution before it.

    Raises:
        InputError: MobileFaceNet has no map of the descriptor's side; it has 56, 28 and 14.
    """

    def __init__(self, descriptor: Descriptor, embedding_dim: int) -> None:
        super().__init__()
        if descriptor.side not in _ENTRIES:
            raise InputError(
                f"mobilefacenet has no map of {descriptor.side}x{descriptor.side}, which the "
                "descriptor is; choose another descriptor, or --student resnet22"
            )
        channels, first = _ENTRIES[descriptor.side]
        whole = MobileFaceNet(embedding_dim)
        self.enter = Unit(descriptor.channels, channels, 3, prelu=False)
        self.block = nn.ModuleDict(dict(list(whole.block.items())[first:]))
        self.head = whole.head

    def start_from(self, teacher: MobileFaceNet) -> None:
        """Take over the weights of a whole network; the convolution before the trunk stays."""
        own = self.state_dict()
        self.load_state_dict(own | {k: v for k, v in teacher.state_dict().items() if k in own})

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) descriptors to (B, D) embeddings, not of unit length."""
        x = self.enter(features)
        for block in self.block.values():
            x = block(x)
        return self.head(x).flatten(1)


class _Basic(nn.Module):
    """Two 3x3 layers beside a straight path, which has a 1x1 layer if it is projected."""

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, *, project: bool = False
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(*_layer(inputs, outputs, 3, stride))
        self.second = nn.Sequential(*_layer(outputs, outputs, 3))
        self.past = nn.Sequential(*_layer(inputs, outputs, 1, stride)) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.past(x))


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    filters = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [filters, nn.BatchNorm2d(outputs)]


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
        """Embed (B, 3, H, W) faces, RGB in [0, 1]: (B, D) float, not of unit length.

        Args:
            faces: what is embedded.
            region: (B, 1, H, W) float in [0, 1], 1 where the face is covered; None to predict it.
        """
        if region is None:
            region = self.region.cover(faces)
        return self.reformer(self.encoder.encode(faces, region, self.descriptor))

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
        return self.classifier(directions)


def with_classifier(network: nn.Module, arguments: Mapping[str, Any]) -> GenerativeRecogniser:
    """Return a `GenerativeRecogniser` of the same weights and other arguments: other people.

    Its classifier is fresh; the network's own, if it has one, stays behind.
    """
    made, weights = GenerativeRecogniser(**arguments), network.state_dict()
    fresh = {k: v for k, v in made.state_dict().items() if k.startswith("classifier.")}
    made.load_state_dict(
        {k: v for k, v in weights.items() if not k.startswith("classifier.")} | fresh
    )
    return made
