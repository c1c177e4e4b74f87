"""MobileFaceNet and FaceMesh on x86 processors, in the memory layout oneDNN computes in.

A network of 1x1 and depthwise convolutions spends more time moving values than multiplying them.
oneDNN's blocked layout keeps sixteen channels side by side, so that convolution, PReLU and addition
all run on whole vector registers; entering it once per batch, instead of once per convolution, is
what makes the difference (figures: `examples/bench_embed.py`). Inference only.
"""

import copy
import platform
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.facemesh import FaceMesh, MeshBlock, shape_answers
from mfrkit.models.meer import MeerNet
from mfrkit.models.mobilefacenet import MobileFaceNet, Unit

_VIEWS = 8  # faces at a time: few enough that the widest feature maps stay in the cache


def is_supported(network: nn.Module) -> TypeGuard[MobileFaceNet | MeerNet]:
    """Whether `BlockedMobileFaceNet` can stand in for this network on this machine's processor."""
    backbone = network.identity.backbone if isinstance(network, MeerNet) else network
    return isinstance(backbone, MobileFaceNet) and has_blocked_layout()


def has_blocked_layout() -> bool:
    """Whether this machine's processor computes in blocked layout."""
    known = platform.machine().lower() in {"x86_64", "amd64"}
    return known and torch.backends.mkldnn.is_available()


class BlockedMobileFaceNet(nn.Module):
    """The same network with the same weights, computed in blocked layout.

    Args:
        network: or one built round it; left as it is, the weights are copied.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network, faces = MobileFaceNet().eval(), torch.rand(2, 3, 112, 112)
        >>> with torch.inference_mode():
        ...     torch.allclose(BlockedMobileFaceNet(network)(faces), network(faces), atol=1e-4)
        True
    """

    def __init__(self, network: MobileFaceNet | MeerNet) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        for module in list(self.network.modules()):
            for name, child in module.named_children():
                if isinstance(child, Unit):
                    setattr(module, name, _BlockedUnit(child))

    def forward(self, faces: Tensor) -> Tensor:
        """Embed normalised faces, (B, 3, 112, 112) float32 on the CPU, as (B, D)."""
        parts = faces.split(_VIEWS)
        return torch.cat([self.network(part.to_mkldnn()).to_dense() for part in parts])


class BlockedFaceMesh(nn.Module):
    """The same network with the same weights, computed in blocked layout.

    Args:
        network: left as it is, the weights are copied.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network, faces = FaceMesh().eval(), torch.rand(1, 3, 192, 192)
        >>> with torch.inference_mode():
        ...     torch.allclose(BlockedFaceMesh(network)(faces)[0], network(faces)[0], atol=1e-3)
        True
    """

    def __init__(self, network: FaceMesh) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        for module in list(self.network.modules()):
            for name, child in module.named_children():
                if isinstance(child, MeshBlock):
                    setattr(module, name, _BlockedMeshBlock(child))
                elif isinstance(child, Unit):
                    setattr(module, name, _BlockedUnit(child))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Find vertices, see `FaceMesh`; (B, 3, 192, 192) float32 on the CPU."""
        features = self.network.features(faces.to_mkldnn())
        mesh, score = self.network.mesh(features), self.network.score(features)
        return shape_answers(mesh.to_dense(), score.to_dense())


class _BlockedMeshBlock(nn.Module):
    """A block of the mesh network; empty channels come from a convolution that copies the others.

    The layout knows no padding of channels.
    """

    def __init__(self, block: MeshBlock) -> None:
        super().__init__()
        self.spread, self.mix = _BlockedUnit(block.spread), _BlockedUnit(block.mix)
        self.slope = block.slope.detach().to_mkldnn()
        self.stride = block.stride
        outputs, inputs = block.mix.weight.shape[:2]
        copying = torch.eye(outputs, inputs)[:, :, None, None]
        self.widen = copying.to_mkldnn() if block.added else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.spread(x))
        if self.stride > 1:
            x = F.max_pool2d(x, self.stride)
        if self.widen is not None:
            x = torch.conv2d(x, self.widen)
        y += x
        return torch.prelu(y, self.slope)


class _BlockedUnit(nn.Module):
    """A unit whose input, output and parameters are in blocked layout."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        weight, self.padding = unit.weight.detach(), unit.padding
        if unit.uneven:
            # The layout knows even padding only: pad by one more row and column before the
            # picture, and let the kernel begin with zeros there.
            self.padding = weight.shape[-1] // 2
            weight = F.pad(weight, (1, 0, 1, 0))
        self.stride, self.groups = unit.stride, unit.groups
        self.weight = weight.contiguous().to_mkldnn()
        self.bias = unit.bias.detach().to_mkldnn()
        self.prelu = None if unit.prelu is None else unit.prelu.detach().to_mkldnn()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return x if self.prelu is None else torch.prelu(x, self.prelu)
