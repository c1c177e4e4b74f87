"""Networks that find faces: MTCNN's three, YuNet's graph, and FaceMesh, which lays a mesh on one.

Paper:
    Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
    Convolutional Networks", IEEE Signal Processing Letters 23(10), 2016, arXiv:1604.02878.
    Kartynnik, Ablavatski, Grishchenko, Grundmann, "Real-time Facial Surface Geometry from
    Monocular Video on Mobile GPUs", CVPR workshops 2019, arXiv:1907.06724.
    Differs: the main branch of the published network alone, without the refinement of lips, eyes
    and irises; batch norm is folded in, "same" padding is TensorFlow's.

How MTCNN's are chained over an image pyramid: `mfrkit.faces.detect`. A network that OpenCV runs is
held as the bytes of its ONNX graph, so that it travels as a model file too. Which part of a photo
FaceMesh is shown and what its vertices are good for: `mfrkit.faces.mesh`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.device import prelu
from mfrkit.models.mobilefacenet import Unit

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
        """Take (B, 3, 24, 24) crops, RGB in [0, 1], to probability (B,) and offsets (B, 4).

        The offsets are those of x1, y1, x2, y2 in box sides.
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
        """Take (B, 3, 48, 48) crops, RGB in [0, 1], to probability, offsets and points.

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
    """The three networks under one roof, so that one file holds their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet = PNet()
        self.rnet = RNet()
        self.onet = ONet()


class OpenCVGraph(nn.Module):
    """Holds a graph, N bytes of an ONNX file; `mfrkit.faces.yunet` hands it to OpenCV."""

    graph: Tensor

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.register_buffer("graph", torch.zeros(size, dtype=torch.uint8))


SIDE = 192  # of the square it reads, pixels
VERTICES = 468
# Channels out of each residual block; a map is halved where a block of another size begins.
_BLOCKS = ((16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (128, 2),
           *((128, 1),) * 2, (128, 2), *((128, 1),) * 2, (128, 2), *((128, 1),) * 2)  # fmt: skip
_STEM, _NECK = 16, 32


class MeshBlock(nn.Module):
    """A depthwise and a 1x1 convolution beside the input, then a PReLU.

    The input is halved by its maxima, and gets empty channels, where the result has another shape.
    Its two units live in `FaceMesh.unit`, under the numbers the published graph gives them.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.spread = Unit(inputs, inputs, 3, stride=stride, depthwise=True, prelu=False)
        self.mix = Unit(inputs, outputs, prelu=False)
        self.slope = nn.Parameter(torch.full((outputs,), 0.25))
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = self.mix(self.spread(x))
        if self.stride > 1:
            x = F.max_pool2d(x, self.stride)
        if self.added:
            x = F.pad(x, (0, 0, 0, 0, 0, self.added))
        y = y + x
        return prelu(y, self.slope) if self.training else F.prelu(y, self.slope)


class FaceMesh(nn.Module):
    """The network, 581,197 parameters, and the mean face its vertices are fitted to.

    Attributes:
        mean: (468, 3) float32 buffer, the mean mesh in pixels of the plain 112-pixel crop; z in the
            same unit, smaller is nearer.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = Unit(3, _STEM, 3, stride=2)
        width, blocks = _STEM, []
        for outputs, stride in _BLOCKS:
            blocks.append(MeshBlock(width, outputs, stride))
            width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.neck = nn.Sequential(Unit(width, _NECK), MeshBlock(_NECK, _NECK, 1))
        self.mesh = Unit(_NECK, 3 * VERTICES, 3, valid=True, prelu=False)
        self.score = Unit(_NECK, 1, 3, valid=True, prelu=False)
        self.register_buffer("mean", torch.zeros(VERTICES, 3))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Find the vertices.

        Args:
            faces: (B, 3, 192, 192) float, RGB in [0, 1], upright, one face in the middle of each.

        Returns:
            (B, 468, 3) float vertices: x and y in pixels of the square from its top left corner, z
            in the same unit, smaller is nearer; and (B,) float logits of there being a face.
        """
        features = self.features(faces)
        return shape_answers(self.mesh(features), self.score(features))

    def features(self, faces: Tensor) -> Tensor:
        """Return what both heads read, (B, 32, 3, 3)."""
        return self.neck(self.blocks(self.stem(faces)))


def shape_answers(mesh: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Take the heads' maps, (B, 1404, 1, 1) and (B, 1, 1, 1), to (B, 468, 3) and (B,)."""
    return mesh.view(-1, VERTICES, 3), score.view(-1)
