"""Networks that find faces: MTCNN's three, which propose, refine and finish, and YuNet's graph.

Paper:
    Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
    Convolutional Networks", IEEE Signal Processing Letters 23(10), 2016, arXiv:1604.02878.

Each of the three takes RGB in [0, 1] and answers with face probability first, then offsets in
units of the box side. How they are chained over an image pyramid is `mfrkit.faces.detect`'s
business. A network that OpenCV runs is held as the bytes of its ONNX graph, so that it travels as
a model file too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MEAN = 127.5 / 255.0  # the published weights expect (v - 127.5) / 128 of 8-bit values
_STD = 128.0 / 255.0


def _normalise(faces: Tensor) -> Tensor:
    return (faces - _MEAN) / _STD


def _flatten_columns_first(x: Tensor) -> Tensor:
    """Flatten (B, C, H, W) as (W, H, C), the order the published dense layers were trained with."""
    return x.permute(0, 3, 2, 1).flatten(1)


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, 2, ceil_mode=True)


def _pool_within(x: Tensor, sizes: Tensor) -> Tensor:
    """Pool as if each picture of the batch ended at its own size; zero beyond it.

    At an odd size the last cell holds one row only, so padding must not enter the maximum.
    """
    height, width = sizes[:, :, None].unbind(1)
    rows = torch.arange(x.shape[2], device=x.device) < height
    columns = torch.arange(x.shape[3], device=x.device) < width
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    x = _pool(x.masked_fill(~inside, -torch.inf))
    return x.masked_fill(x == -torch.inf, 0.0)


class PNet(nn.Module):
    """Proposal network: fully convolutional, one answer per 12x12 window at stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, photos: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score every window.

        Args:
            photos: (B, 3, H, W) float, RGB in [0, 1], H and W at least 12.
            sizes: (B, 2) int64, true height and width of photos that are padded on the right and
                below; None when they are not.

        Returns:
            (B, h, w) float face probability and (B, 4, h, w) float offsets of x1, y1, x2, y2 in
            window sides; cell (i, j) is the window whose corner is at row 2i, column 2j. Cells
            with 2i + 10 or 2j + 10 not below the true size mean nothing.
        """
        x = self.prelu1(self.conv1(_normalise(photos)))
        x = _pool(x) if sizes is None else _pool_within(x, sizes - 2)
        x = self.prelu2(self.conv2(x))
        x = self.prelu3(self.conv3(x))
        return self.conv4_1(x).softmax(dim=1)[:, 1], self.conv4_2(x)


class RNet(nn.Module):
    """Refinement network: rejects most proposals and sharpens the rest, on 24x24 crops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Score and correct candidate boxes.

        Args:
            crops: (B, 3, 24, 24) float, RGB in [0, 1].

        Returns:
            (B,) float face probability and (B, 4) float offsets of x1, y1, x2, y2 in box sides.
        """
        x = self.prelu1(self.conv1(_normalise(crops)))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.prelu2(self.conv2(x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flatten_columns_first(x)))
        return self.dense5_1(x).softmax(dim=1)[:, 1], self.dense5_2(x)


class ONet(nn.Module):
    """Output network: last score, last correction and five facial points, on 48x48 crops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score and correct candidate boxes, and place the five points in them.

        Args:
            crops: (B, 3, 48, 48) float, RGB in [0, 1].

        Returns:
            (B,) float face probability, (B, 4) float offsets of x1, y1, x2, y2 in box sides, and
            (B, 5, 2) float points (x, y) from the box's top left corner in box sides: image-left
            eye, image-right eye, nose, image-left and image-right mouth corner.
        """
        x = self.prelu1(self.conv1(_normalise(crops)))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.prelu2(self.conv2(x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(x))
        x = _pool(x)
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_flatten_columns_first(x)))
        points = self.dense6_3(x).unflatten(1, (2, 5)).transpose(1, 2)
        return self.dense6_1(x).softmax(dim=1)[:, 1], self.dense6_2(x), points


class MTCNN(nn.Module):
    """The three networks under one roof, so that one file holds their weights.

    Example:
        >>> networks = MTCNN()
        >>> score, offsets, points = networks.onet(torch.zeros(2, 3, 48, 48))
        >>> tuple(score.shape), tuple(offsets.shape), tuple(points.shape)
        ((2,), (2, 4), (2, 5, 2))
    """

    def __init__(self) -> None:
        super().__init__()
        self.pnet = PNet()
        self.rnet = RNet()
        self.onet = ONet()


class OpenCVGraph(nn.Module):
    """Holds a graph; `mfrkit.faces.yunet` hands it to OpenCV.

    Attributes:
        graph: (N,) uint8 buffer, the bytes of the ONNX file.

    Args:
        size: N.
    """

    graph: Tensor

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.register_buffer("graph", torch.zeros(size, dtype=torch.uint8))
