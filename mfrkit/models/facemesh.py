"""FaceMesh: 468 vertices on a face, and how sure it is that there is one.

Paper:
    Kartynnik, Ablavatski, Grishchenko, Grundmann, "Real-time Facial Surface Geometry from
    Monocular Video on Mobile GPUs", CVPR workshops 2019, arXiv:1907.06724.
    Differs: the main branch of the published network alone, without the refinement of lips, eyes
    and irises; batch norm is folded in, "same" padding is TensorFlow's.

A stem, seventeen residual blocks from 96x96 to 3x3 and the head. Which part of a photo it is shown
and what its vertices are good for: `mfrkit.faces.mesh`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.mobilefacenet import Unit
from mfrkit.models.prelu import prelu

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

    Example:
        >>> mesh, score = FaceMesh().eval()(torch.zeros(2, 3, 192, 192))
        >>> tuple(mesh.shape), tuple(score.shape)
        ((2, 468, 3), (2,))
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
        features: Tensor = self.neck(self.blocks(self.stem(faces)))
        return features


def shape_answers(mesh: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Take the heads' maps, (B, 1404, 1, 1) and (B, 1, 1, 1), to (B, 468, 3) and (B,)."""
    return mesh.view(-1, VERTICES, 3), score.view(-1)
