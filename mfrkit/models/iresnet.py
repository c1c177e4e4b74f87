"""The improved residual networks of ArcFace, with the parameter names InsightFace uses.

Paper:
    Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
    CVPR 2019, arXiv:1801.07698: residual units that begin and end with batch norm, PReLU in
    between, and batch norm, dropout, dense, batch norm as the head.

Weights published for these networks load under their own names, so the names here are fixed.
"""

from functools import partial

from torch import Tensor, nn

from mfrkit.models.device import PReLU
from mfrkit.models.recogniser import Backbone

_EPS = 1e-5
_WIDTHS = (64, 128, 256, 512)
_FINAL_SIDE = 7  # a 112-pixel face after four halvings


class IResBlock(nn.Module):
    """Norm, convolve, norm, PReLU, convolve (here the stride), norm; add the input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, _EPS)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, _EPS)
        self.prelu = PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, _EPS)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, _EPS)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return y + shortcut


class IResNet(Backbone):
    """A residual network from a 112x112 face to an embedding, with its units in four stages.

    A share of the last feature map, `dropout`, is dropped while training.
    """

    channels = _WIDTHS[:3]

    def __init__(
        self, blocks: tuple[int, int, int, int], embedding_dim: int = 512, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0], _EPS)
        self.prelu = PReLU(_WIDTHS[0])
        self.layer1 = _stage(_WIDTHS[0], _WIDTHS[0], blocks[0])
        self.layer2 = _stage(_WIDTHS[0], _WIDTHS[1], blocks[1])
        self.layer3 = _stage(_WIDTHS[1], _WIDTHS[2], blocks[2])
        self.layer4 = _stage(_WIDTHS[2], _WIDTHS[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(_WIDTHS[3], _EPS)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(_WIDTHS[3] * _FINAL_SIDE**2, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim, _EPS)
        # A free scale here would let the network change the margin's meaning; it stays 1.
        self.features.weight.requires_grad_(False)
        self.apply(_initialise)

    def maps(self, faces: Tensor) -> list[Tensor]:
        """Return the maps after the first three stages; see `Backbone`."""
        fine = self.layer1(self.prelu(self.bn1(self.conv1(faces))))
        middle = self.layer2(fine)
        return [fine, middle, self.layer3(middle)]

    def embed(self, coarse: Tensor) -> Tensor:
        """Go on from the fourth stage; see `Backbone`."""
        x = self.dropout(self.bn2(self.layer4(coarse)).flatten(1))
        return self.features(self.fc(x))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    first = IResBlock(inputs, outputs, stride=2)
    return nn.Sequential(first, *(IResBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    """Draw convolutions from N(0, 0.1), as the published training code does; norms start at 1."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.1)


# Of 18 to 200 layers: 24.0, 34.1, 43.6, 65.2 and 118.8 M parameters at D = 512.
iresnet18 = partial(IResNet, (2, 2, 2, 2))
iresnet34 = partial(IResNet, (3, 4, 6, 3))
iresnet50 = partial(IResNet, (3, 4, 14, 3))
iresnet100 = partial(IResNet, (3, 13, 30, 3))
iresnet200 = partial(IResNet, (6, 26, 60, 6))
