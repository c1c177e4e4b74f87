"""EdgeFace on x86 processors: what stands between two matrix products is done inside them.

A block of EdgeFace is a depthwise convolution and two matrix products; GELU, the share of the
result and the addition to the input would each read and write maps that do not fit the cache.
oneDNN does them while it still holds the values; scale and shift of norms and the shares are
multiplied into the matrices beforehand, and matrices of low rank multiplied out. Inference only.
(Figures: `examples/bench_embed.py --model edgeface`.)
"""

import copy
import platform
from typing import TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.edgeface import AttendingBlock, ConvBlock, EdgeFace, LowRank, Stage

VIEWS = 32  # faces at a time that hide the cost of the calls, which oneDNN makes dear
_FINE_VIEWS = 16  # of these, as many in the first stage as leave its wide maps in the cache


def is_fusible(network: nn.Module) -> TypeGuard[EdgeFace]:
    """Whether `FusedEdgeFace` can stand in for this network on this machine's processor."""
    return (
        isinstance(network, EdgeFace)
        and platform.machine().lower() in {"x86_64", "amd64"}
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class FusedEdgeFace(nn.Module):
    """The same network with the same weights.

    Args:
        network: left as it is, the weights are copied.

    Example:
        >>> network, faces = EdgeFace().eval(), torch.rand(2, 3, 112, 112)
        >>> with torch.inference_mode():
        ...     torch.allclose(FusedEdgeFace(network)(faces), network(faces), atol=1e-4)
        True
    """

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
        embedding: Tensor = self.head(self.norm(self.coarse(fine).mean((2, 3))))
        return embedding


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
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, then, [], "none"
        )
        return result

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs) and add another tensor of that shape."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, to, self.weight, self.bias, "add"
        )
        return result


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
