"""What a frozen recogniser sees in a face: feature maps on the way, and who it is at the end."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.recogniser import Recogniser

# Type of the network -> the modules after which its resolution falls.
STAGES: Mapping[str, tuple[str, ...]] = {
    "MobileFaceNet": ("stem", "block.04", "block.11"),
    "IResNet": ("layer1", "layer2", "layer3"),
    "EdgeFace": ("stages.0", "stages.1", "stages.2"),
}


class Seen(NamedTuple):
    """What is seen in B faces.

    Attributes:
        maps: (B, C, H, W) feature maps, fine ones first.
        embedding: (B, D), unit norm.
    """

    maps: list[Tensor]
    embedding: Tensor


class FaceFeatures(nn.Module):
    """Look at faces of any size through a recogniser.

    Args:
        recogniser: whose weights stay as they are; gradients reach the faces.

    Raises:
        InputError: a recogniser of an unknown family.

    Example:
        >>> import torch
        >>> from mfrkit.models.loading import load_recogniser
        >>> seen = FaceFeatures(load_recogniser("arcface"))(torch.rand(1, 3, 112, 112))
        >>> [tuple(each.shape[1:]) for each in seen.maps]
        [(64, 56, 56), (64, 28, 28), (128, 14, 14)]
    """

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser
        self._maps: list[Tensor] = []
        family = type(recogniser.network).__name__
        if family not in STAGES:
            raise InputError(
                f"{recogniser.card.name}: no feature maps are known of {family}; "
                f"choose one of {', '.join(STAGES)}"
            )
        for name in STAGES[family]:
            recogniser.network.get_submodule(name).register_forward_hook(self._note)

    def forward(self, faces: Tensor) -> Seen:
        """Look at faces (B, 3, H, W), RGB in [0, 1]."""
        size, resized = self.recogniser.card.input_size, faces
        if size is not None and tuple(faces.shape[2:]) != size:
            resized = F.interpolate(faces, size, mode="bilinear", antialias=True)
        self._maps = []
        embedding = self.recogniser(resized)
        maps, self._maps = self._maps, []
        return Seen(maps, embedding)

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._maps.append(output)
