"""The completion generator of G2D's paper: the guided upsampler of ICT, a plain residual network.

Paper:
    Wan, Zhang, Chen, Liao, "High-Fidelity Pluralistic Image Completion with Transformers", ICCV
    2021, arXiv:2103.14031, section 3.3, with the layer sizes of its published code. Ge et al.,
    arXiv:2405.16761, take the output of one of its residual blocks as the descriptor of a face.
    Differs: no transformer draws a small picture first; the upsampler sees the masked face and the
    region alone, four channels instead of six. Faces of another size are resized to its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.completion import Completion, Descriptor

_REDUCTION = 4  # pixels of its own picture along one of its features
_DILATION = 2


class GuidedUpsampler(Completion):
    """Complete faces at 256x256 with residual blocks at a quarter of that: 10,774,595 parameters.

    Args:
        width: channels of the first layer; 64 in the paper.
        blocks: residual blocks, each of which is a descriptor; 8 in the paper.
        side: of the picture it works at; 0 takes faces as they come.
        margin: pixels of the face by which a region is grown.

    Example:
        >>> faces, region = torch.rand(1, 3, 112, 112), torch.zeros(1, 1, 112, 112)
        >>> network = GuidedUpsampler(4, blocks=2).eval()
        >>> with torch.no_grad():
        ...     torch.equal(network(faces, region), faces), network.encode(faces, region).shape
        (True, torch.Size([1, 16, 64, 64]))
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
        features: Tensor = self.blocks[:count](self._stem(faces, self.hole(region)))
        return features

    def cut(self, descriptor: str) -> None:
        """Let go of the blocks behind a descriptor, and of the decoder."""
        del self.blocks[_number(descriptor) :]
        del self.draw

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the faces at once; arguments and result as in `Completion`."""
        drawn = torch.tanh(self.draw(self.blocks(self._stem(faces, hole))).float())
        return [_resized((drawn + 1) / 2, (faces.shape[2], faces.shape[3]))]

    def _stem(self, faces: Tensor, hole: Tensor) -> Tensor:
        shown = torch.cat([torch.lerp(faces, torch.ones_like(faces), hole), hole], 1)  # white holes
        own = (self.side, self.side) if self.side else (faces.shape[2], faces.shape[3])
        features: Tensor = self.stem(_resized(shown, own))
        return features


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


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(planes.shape[2:]) == size:
        return planes
    return F.interpolate(planes, size, mode="bilinear", antialias=True)
