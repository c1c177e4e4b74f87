"""Discriminative reformers: networks from a generator's descriptor of a face to its embedding.

Two shapes: the small residual network of G2D's paper, and the trunk of MobileFaceNet, entered where
its own maps are as fine as the descriptor, so that it can start from a teacher's weights.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.completion import Descriptor
from mfrkit.models.mobilefacenet import MobileFaceNet, Unit

_FINAL_SIDE = 7  # about what the last feature map is brought down to
# Side of a descriptor -> where MobileFaceNet has maps of that side: channels, first block kept.
_ENTRIES = {56: (64, 0), 28: (64, 1), 14: (128, 6)}


class ResNet22(nn.Module):
    """One convolution, four stages of two basic blocks, pooling, one fully connected layer.

    Paper:
        Ge et al., "Masked Face Recognition with Generative-to-Discriminative Representations", ICML
        2024, arXiv:2405.16761: 22 layers. Counted as 1 + 4 (4 + 1) + 1, a stage's fifth being the
        projection of its first block. Blocks: He et al., CVPR 2016, arXiv:1512.03385.
        Differs: widths are the caller's (the paper gives none), and the last stages halve the map
        as often as it takes to come down to 7x7.

    Args:
        descriptor: what it is fed.
        embedding_dim: D, the length of the embedding.
        widths: channels of the four stages; the convolution has those of the first.

    Example:
        >>> import torch
        >>> network = ResNet22(Descriptor(8, 28), 16, (4, 4, 8, 8)).eval()
        >>> network(torch.zeros(2, 8, 28, 28)).shape
        torch.Size([2, 16])
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
        embedding: Tensor = self.fc(self.stages(self.enter(features)).mean((2, 3)))
        return embedding


class Trunk(nn.Module):
    """MobileFaceNet from some block on, with a learned 3x3 convolution before it.

    Args:
        descriptor: what it is fed; of a side MobileFaceNet has maps of: 56, 28 or 14.
        embedding_dim: D, the length of the embedding.

    Raises:
        InputError: MobileFaceNet has no map of this side.

    Example:
        >>> import torch
        >>> Trunk(Descriptor(8, 28), 16).eval()(torch.zeros(2, 8, 28, 28)).shape
        torch.Size([2, 16])
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
        embedding: Tensor = self.head(x).flatten(1)
        return embedding


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
