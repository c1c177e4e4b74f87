"""VGG-16, the classic eye of perceptual losses; its weights are the user's own.

Paper:
    Simonyan and Zisserman, "Very Deep Convolutional Networks", ICLR 2015, arXiv:1409.1556,
    configuration D; maps as in Johnson, Alahi, Fei-Fei, ECCV 2016, arXiv:1603.08155.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from mfrkit.errors import WeightsError
from mfrkit.io.checkpoints import mismatches
from mfrkit.models.foreign import read_tensors

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
