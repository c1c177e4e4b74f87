"""What a frozen network sees in a face: feature maps on the way, and who it is at the end.

Paper:
    VGG-16, the classic eye of perceptual losses, whose weights are the user's own: Simonyan and
    Zisserman, "Very Deep Convolutional Networks", ICLR 2015, arXiv:1409.1556, configuration D;
    maps as in Johnson, Alahi, Fei-Fei, ECCV 2016, arXiv:1603.08155.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import mismatches
from mfrkit.models.foreign import read_tensors
from mfrkit.models.recogniser import Recogniser

# Channels of the convolutions of each block; a pooling halves the resolution between two blocks.
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg(nn.Module):
    """The first four blocks, under torchvision's parameter names.

    Example:
        >>> with torch.device("meta"):
        ...     network = Vgg()
        >>> [tuple(each.shape) for each in network(torch.zeros(1, 3, 32, 32, device="meta"))][-1]
        (1, 512, 4, 4)
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        inputs = 3
        for block in _BLOCKS:
            for outputs in block:
                layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU()]
                inputs = outputs
            self.ends.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, faces: Tensor) -> list[Tensor]:
        """Return the maps at the ends of the blocks, of faces (B, 3, H, W), RGB in [0, 1]."""
        maps, x = [], (faces - self.mean) / self.std
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.ends:
                maps.append(x)
        return maps


def load_vgg(path: Path) -> Vgg:
    """Load torchvision's VGG-16 weights; the later layers are left out.

    Args:
        path: a state dict in a `.pth` file.

    Raises:
        InputError: there is no such file.
        WeightsError: not loadable without running code, or no VGG-16.
    """
    network = Vgg()
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    content = read_tensors(path)
    found = content if isinstance(content, dict) else {}
    kept = {name: found[name] for name in wanted if isinstance(found.get(name), Tensor)}
    difference = mismatches(wanted, {name: tuple(tensor.shape) for name, tensor in kept.items()})
    if difference:
        raise WeightsError(f"{path}: is no VGG-16 of torchvision: {difference}")
    network.load_state_dict(kept)
    return network


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
        vgg: gives the feature maps instead of the recogniser.

    Raises:
        InputError: a recogniser of an unknown family.

    Example:
        >>> import torch
        >>> from mfrkit.models.recognisers import load_recogniser
        >>> seen = FaceFeatures(load_recogniser("arcface"))(torch.rand(1, 3, 112, 112))
        >>> [tuple(each.shape[1:]) for each in seen.maps]
        [(64, 56, 56), (64, 28, 28), (128, 14, 14)]
    """

    def __init__(self, recogniser: Recogniser, vgg: Vgg | None = None) -> None:
        super().__init__()
        self.recogniser, self.vgg = recogniser, vgg
        self._maps: list[Tensor] = []
        if vgg is not None:
            return
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
        return Seen(maps if self.vgg is None else self.vgg(faces), embedding)

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._maps.append(output)
