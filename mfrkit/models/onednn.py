"""Recognisers and FaceMesh on x86 processors, as oneDNN likes them. Inference only.

A network of 1x1 and depthwise convolutions spends more time moving values than multiplying them.
MobileFaceNet and FaceMesh enter oneDNN's blocked layout once per batch instead of once per
convolution: it keeps sixteen channels side by side, so that convolution, PReLU and addition all
run on whole vector registers. In EdgeFace what stands between two matrix products (GELU, the
share of the result, the addition to the input) is done inside them, while oneDNN still holds the
values; scale and shift of norms and the shares are multiplied into the matrices beforehand, and
matrices of low rank multiplied out. (Figures: `examples/bench_embed.py`, for EdgeFace with
`--model edgeface`.)
"""

import copy
import platform
from typing import TypeGuard, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.detectors import FaceMesh, MeshBlock, shape_answers
from mfrkit.models.edgeface import AttendingBlock, ConvBlock, EdgeFace, LowRank, Stage
from mfrkit.models.meer import MeerNet
from mfrkit.models.mobilefacenet import MobileFaceNet, Unit

_Network = TypeVar("_Network", bound=nn.Module)
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
    """The same network, or one built round it, with the same weights, computed in blocked layout.

    The network given is left as it is.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network, faces = MobileFaceNet().eval(), torch.rand(2, 3, 112, 112)
        >>> with torch.inference_mode():
        ...     torch.allclose(BlockedMobileFaceNet(network)(faces), network(faces), atol=1e-4)
        True
    """

    def __init__(self, network: MobileFaceNet | MeerNet) -> None:
        super().__init__()
        self.network: nn.Module = _blocked(network)

    def forward(self, faces: Tensor) -> Tensor:
        """Embed normalised faces, (B, 3, 112, 112) float32 on the CPU, as (B, D)."""
        parts = faces.split(_VIEWS)
        return torch.cat([self.network(part.to_mkldnn()).to_dense() for part in parts])


class BlockedFaceMesh(nn.Module):
    """The same network with the same weights, computed in blocked layout; leaves the one given."""

    def __init__(self, network: FaceMesh) -> None:
        super().__init__()
        self.network = _blocked(network)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Find vertices, see `FaceMesh`; (B, 3, 192, 192) float32 on the CPU."""
        features = self.network.features(faces.to_mkldnn())
        mesh, score = self.network.mesh(features), self.network.score(features)
        return shape_answers(mesh.to_dense(), score.to_dense())


def _blocked(network: _Network) -> _Network:
    """Return a copy that computes in blocked layout and does not train."""
    network = copy.deepcopy(network).requires_grad_(False).eval()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, MeshBlock):
                setattr(module, name, _BlockedMeshBlock(child))
            elif isinstance(child, Unit):
                setattr(module, name, _BlockedUnit(child))
    return network


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


VIEWS = 32  # faces at a time that hide the cost of the calls, which oneDNN makes dear
_FINE_VIEWS = 16  # of these, as many in the first stage as leave its wide maps in the cache


def is_fusible(network: nn.Module) -> TypeGuard[EdgeFace]:
    """Whether `FusedEdgeFace` can stand in for this network on this machine's processor."""
    has_operators = has_blocked_layout() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return isinstance(network, EdgeFace) and has_operators


class FusedEdgeFace(nn.Module):
    """The same network with the same weights; the one given stays as it is."""

    def __init__(self, network: EdgeFace) -> None:
        super().__init__()
        network = copy.deepcopy(network).requires_grad_(False).eval()
        stages = cast("list[Stage]", list(network.stages))
        first, *others = (
            nn.Sequential(stage.downsample, *map(_fused, stage.blocks)) for stage in stages
        )
        self.fine = nn.Sequential(network.stem, first)
        self.coarse = nn.Sequential(*others)
        self.norm, self.head = network.head["norm"], network.head["fc"]

    def forward(self, faces: Tensor) -> Tensor:
        """Embed normalised faces, (B, 3, 112, 112) float32 on the CPU, as (B, D)."""
        faces = faces.contiguous(memory_format=torch.channels_last)
        fine = torch.cat([self.fine(part) for part in faces.split(_FINE_VIEWS)])
        return self.head(self.norm(self.coarse(fine).mean((2, 3))))


class _Fused(nn.Module):
    """A linear layer after a norm's scale and shift and before a share, in oneDNN's layout."""

    def __init__(
        self, layer: nn.Module, norm: nn.LayerNorm | None = None, share: Tensor | None = None
    ) -> None:
        super().__init__()
        weight, bias = _whole(layer)
        if norm is not None:
            weight, bias = weight * norm.weight, bias + weight @ norm.bias
        if share is not None:
            weight, bias = weight * share[:, None], bias * share
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self.bias = bias

    def forward(self, x: Tensor, then: str = "none") -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, then, [], "none")

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs) and add another tensor of that shape."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, to, self.weight, self.bias, "add")


class _FusedConvBlock(nn.Module):
    def __init__(self, block: ConvBlock) -> None:
        super().__init__()
        self.filter = block.conv_dw
        self.widen = _Fused(block.mlp.fc1, block.norm)
        self.narrow = _Fused(block.mlp.fc2, share=block.gamma)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.widen(_normed(self.filter(x).permute(0, 2, 3, 1)), "gelu")
        return self.narrow.added(wide, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _FusedAttendingBlock(nn.Module):
    def __init__(self, block: AttendingBlock) -> None:
        super().__init__()
        self.block = block
        self.ask = _Fused(block.xca.qkv, block.norm_xca)
        self.answer = _Fused(block.xca.proj, share=block.gamma_xca)
        self.widen = _Fused(block.mlp.fc1, block.norm)
        self.narrow = _Fused(block.mlp.fc2, share=block.gamma)

    def forward(self, x: Tensor) -> Tensor:
        y = self.block.placed(self.block.filtered(x).permute(0, 2, 3, 1))
        attended = self.block.xca.attended(self.ask(_normed(y).flatten(1, 2))).view_as(y)
        wide = self.widen(_normed(self.answer.added(attended, y)), "gelu")
        return self.narrow.added(wide, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _fused(block: nn.Module) -> nn.Module:
    if isinstance(block, AttendingBlock):
        return _FusedAttendingBlock(block)
    return _FusedConvBlock(cast(ConvBlock, block))


def _normed(x: Tensor) -> Tensor:
    """Norm without scale and shift."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _whole(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias, multiplied out where the layer is of low rank."""
    if isinstance(layer, LowRank):
        return layer.linear2.weight @ layer.linear1.weight, layer.linear2.bias
    whole = cast(nn.Linear, layer)
    return whole.weight, whole.bias
