"""MobileFaceNet, the small recogniser behind `arcface` and the students distilled from it.

Paper:
    Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification
    on Mobile Devices", CCBR 2018, arXiv:1804.07573, table 1.
    Differs: fifteen inverted residuals and a last 512-wide 1x1 convolution before the embedding,
    as in the publicly trained network; batch norm is folded into the convolutions (there is none
    to keep in step while fine-tuning); "same" padding is TensorFlow's.

Everything is one kind of unit: pad, convolve with bias, PReLU if the unit has one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.device import prelu
from mfrkit.models.recogniser import Backbone

# Inverted residuals, in order: (input, expanded, output) channels and the stride.
# A block adds its input to its output when the two have the same shape.
BLOCKS: tuple[tuple[int, int, int, int], ...] = (
    (64, 128, 64, 2),
    *((64, 128, 64, 1),) * 4,
    (64, 256, 128, 2),
    *((128, 256, 128, 1),) * 6,
    (128, 512, 128, 2),
    *((128, 256, 128, 1),) * 2,
)
_QUARTER, _EIGHTH = "04", "11"  # the last blocks at these resolutions


class Unit(nn.Module):
    """Pad, convolve, and apply a per-channel PReLU if the unit has one.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the square kernel, odd.
        stride: 1, or 2 for inputs of even height and width.
        depthwise: One filter per channel; then `inputs` equals `outputs`.
        valid: Pad nothing, instead of keeping the size (divided by the stride).
        prelu: Whether a PReLU follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        depthwise: bool = False,
        valid: bool = False,
        prelu: bool = True,
    ) -> None:
        super().__init__()
        self.groups = inputs if depthwise else 1
        self.stride = stride
        # TensorFlow splits an odd amount of padding after the picture, where torch cannot:
        # stride 2 on an even side needs one row less than `kernel // 2` on both sides gives.
        self.uneven = stride == 2 and not valid
        self.padding = 0 if valid or self.uneven else kernel // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs // self.groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.prelu = nn.Parameter(torch.full((outputs,), 0.25)) if prelu else None
        nn.init.kaiming_normal_(self.weight, a=0.25 if prelu else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        if self.uneven:
            kernel = self.weight.shape[-1]
            x = F.pad(x, (kernel // 2 - 1, kernel // 2) * 2)
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        if self.prelu is None:
            return x
        return prelu(x, self.prelu) if self.training else F.prelu(x, self.prelu)


class InvertedResidual(nn.Sequential):
    """Widen by a 1x1, filter each channel, narrow by a linear 1x1; add the input if it fits."""

    def __init__(self, inputs: int, expanded: int, outputs: int, stride: int) -> None:
        super().__init__(
            Unit(inputs, expanded),
            Unit(expanded, expanded, 3, stride=stride, depthwise=True),
            Unit(expanded, outputs, prelu=False),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = super().forward(x)
        return x + y if self.residual else y


class MobileFaceNet(Backbone):
    """The bundled recogniser's network: 1,292,992 parameters at D = 192."""

    channels = (64, 64, 128)

    def __init__(self, embedding_dim: int = 192) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Unit(3, 64, 3, stride=2),
            Unit(64, 64, 3, depthwise=True),
            Unit(64, 64, prelu=False),
        )
        self.block = nn.ModuleDict(
            {f"{index:02d}": InvertedResidual(*block) for index, block in enumerate(BLOCKS)}
        )
        self.head = nn.Sequential(
            Unit(128, 512),
            Unit(512, 512, 7, depthwise=True, valid=True, prelu=False),
            Unit(512, 512, prelu=False),
            Unit(512, embedding_dim, prelu=False),
        )

    def maps(self, faces: Tensor) -> list[Tensor]:
        """Return the maps after the stem and after blocks 04 and 11; see `Backbone`."""
        maps = [self.stem(faces)]
        x = maps[0]
        for name, block in self.block.items():
            if name <= _EIGHTH:
                x = block(x)
            if name in (_QUARTER, _EIGHTH):
                maps.append(x)
        return maps

    def embed(self, coarse: Tensor) -> Tensor:
        """Go on from block 12; see `Backbone`."""
        x = coarse
        for name, block in self.block.items():
            if name > _EIGHTH:
                x = block(x)
        return self.head(x).flatten(1)
