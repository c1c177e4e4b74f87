"""EdgeFace, a recogniser of 2.2 million parameters that computes as little as it stores.

Paper:
    George, Ecabert, Otroshi Shahreza, Kotwal, Marcel, "EdgeFace: Efficient Face Recognition Model
    for Edge Devices", IEEE T-BIOM 2024, arXiv:2307.01838: an EdgeNeXt (Maaz et al., "EdgeNeXt:
    Efficiently Amalgamated CNN-Transformer Architecture for Mobile Vision Applications", ECCV
    workshops 2022, arXiv:2206.10589) with an embedding for a head, and, in the variants whose
    names end in gamma, matrices that are the product of two narrow ones.

Parameters are named as timm names them, so that published weights load under their own names.
The size of a published file is read off its tensors; those whose names end in q went through
PyTorch's dynamic quantisation, which packs weight and bias of each linear layer in a tuple.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import WeightsError
from mfrkit.models.recogniser import Backbone

_EPS = 1e-6
_WIDER = 4  # times the width, between the two linear layers of a block
_KERNELS = (3, 5, 7, 9)
_PARTS = (0, 2, 3, 4)  # into which the last block of each stage splits the channels
_PLACED = 1  # the stage whose attention is told where things are
_WAVES = 32  # sines and cosines along each axis
_LONGEST = 10000.0  # wavelength


class Size(NamedTuple):
    """What the published sizes differ in: blocks and channels of each stage, heads of attention."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    heads: int


SIZES: Mapping[str, Size] = {
    "xx-small": Size((2, 2, 6, 2), (24, 48, 88, 168), 4),
    "x-small": Size((3, 3, 9, 3), (32, 64, 100, 192), 4),
    "small": Size((3, 3, 9, 3), (48, 96, 160, 304), 8),
    "base": Size((3, 3, 9, 3), (80, 160, 288, 584), 8),
}


class EdgeFace(Backbone):
    """The network behind `edgeface`: 2,242,620 parameters as x-small at 512 dimensions.

    Args:
        embedding_dim: D, the length of the embedding.
        size: a key of `SIZES`.
        rank: of the linear layers as a share of their smaller side, in [0, 1); 0 keeps them whole.

    Raises:
        ValueError: no such size, or a share outside its range.
    """

    finest = 4

    def __init__(self, embedding_dim: int = 512, size: str = "x-small", rank: float = 0.0) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"no size {size!r}; known: {', '.join(SIZES)}")
        if not 0 <= rank < 1:
            raise ValueError(f"rank {rank} is not in [0, 1)")
        depths, widths, heads = SIZES[size]
        self.channels = widths[:3]
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], _EPS))
        self.stages = nn.ModuleList(
            Stage(index, depth, widths[max(0, index - 1)], widths[index], heads, rank)
            for index, depth in enumerate(depths)
        )
        self.head = nn.ModuleDict(
            {
                "norm": nn.LayerNorm(widths[-1], _EPS),
                "fc": linear(widths[-1], embedding_dim, rank),
            }
        )
        self.apply(_initialise)

    def maps(self, faces: Tensor) -> list[Tensor]:
        """Return the maps after the first three stages; see `Backbone`."""
        # Channels side by side: what norms and linear layers read, and convolutions compute in.
        x = self.stem(faces.contiguous(memory_format=torch.channels_last))
        return [x := stage(x) for stage in list(self.stages)[:-1]]

    def embed(self, coarse: Tensor) -> Tensor:
        """Go on from the fourth stage; see `Backbone`."""
        x = self.stages[-1](coarse).mean((2, 3))
        return self.head["fc"](self.head["norm"](x))


class Stage(nn.Module):
    """Halve the side, but in the first stage; then blocks, the last of which may attend."""

    def __init__(
        self, index: int, depth: int, inputs: int, width: int, heads: int, rank: float
    ) -> None:
        super().__init__()
        self.downsample = (
            nn.Sequential(ChannelNorm(inputs, _EPS), nn.Conv2d(inputs, width, 2, 2))
            if index
            else nn.Identity()
        )
        blocks: list[nn.Module] = [
            ConvBlock(width, _KERNELS[index], rank) for _ in range(depth - bool(_PARTS[index]))
        ]
        if _PARTS[index]:
            placed = index == _PLACED
            blocks.append(AttendingBlock(width, _PARTS[index], heads, rank, placed=placed))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, width, H // 2, W // 2), or H, W in the first stage."""
        return self.blocks(self.downsample(x))


class ConvBlock(nn.Module):
    """Filter each channel, norm, widen and narrow again; add a share of that to the input."""

    def __init__(self, width: int, kernel: int, rank: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, _EPS)
        self.mlp = Mlp(width, rank)
        self.gamma = nn.Parameter(torch.full((width,), _EPS))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        y = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return torch.addcmul(x.permute(0, 2, 3, 1), self.gamma, y).permute(0, 3, 1, 2)


class AttendingBlock(nn.Module):
    """Filter parts of the channels, each with what became of the part before; attend; widen.

    The last part is not filtered. If `placed`, a code of the place is added before attending.
    """

    def __init__(self, width: int, parts: int, heads: int, rank: float, *, placed: bool) -> None:
        super().__init__()
        part = math.ceil(width / parts)
        self.convs = nn.ModuleList(
            nn.Conv2d(part, part, 3, padding=1, groups=part) for _ in range(parts - 1)
        )
        self.pos_embd = PlaceCode(width) if placed else None
        self.norm_xca = nn.LayerNorm(width, _EPS)
        self.gamma_xca = nn.Parameter(torch.full((width,), _EPS))
        self.xca = ChannelAttention(width, heads, rank)
        self.norm = nn.LayerNorm(width, _EPS)
        self.mlp = Mlp(width, rank)
        self.gamma = nn.Parameter(torch.full((width,), _EPS))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        y = self.placed(self.filtered(x).permute(0, 2, 3, 1))
        attended = self.xca(self.norm_xca(y).flatten(1, 2)).view_as(y)
        y = self.mlp(self.norm(torch.addcmul(y, self.gamma_xca, attended)))
        return torch.addcmul(x.permute(0, 2, 3, 1), self.gamma, y).permute(0, 3, 1, 2)

    def filtered(self, x: Tensor) -> Tensor:
        """Return (B, width, H, W): all parts of the channels but the last are filtered."""
        parts = list(x.chunk(len(self.convs) + 1, 1))
        for index, convolve in enumerate(self.convs):
            parts[index] = convolve(parts[index] + parts[index - 1] if index else parts[index])
        return torch.cat(parts, 1)

    def placed(self, y: Tensor) -> Tensor:
        """Add the code of the place to (B, H, W, width), where there is one."""
        return y if self.pos_embd is None else y + self.pos_embd(y.shape[1], y.shape[2])


class ChannelAttention(nn.Module):
    """Cross-covariance attention: channels attend to channels, by how alike they are in space."""

    def __init__(self, width: int, heads: int, rank: float) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = linear(width, 3 * width, rank)
        self.proj = linear(width, width, rank)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, places, width) to the same shape."""
        return self.proj(self.attended(self.qkv(x)))

    def attended(self, asked: Tensor) -> Tensor:
        """Let channels attend: queries, keys and values in a row, (B, places, 3 times width)."""
        # A channel's places side by side, in memory too: they are read three times over.
        rows = asked.transpose(1, 2).contiguous()
        query, key, value = rows.unflatten(1, (3, len(self.temperature), -1)).unbind(1)
        alike = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        attended = (alike * self.temperature).softmax(-1) @ value
        return attended.flatten(1, 2).transpose(1, 2)


class PlaceCode(nn.Module):
    """Sines and cosines of row and column, projected to the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * _WAVES, width, 1)

    def forward(self, height: int, width: int) -> Tensor:
        """Return (height, width, channels)."""
        weight = self.token_projection.weight
        order = torch.arange(_WAVES, device=weight.device)
        lengths = _LONGEST ** (order // 2 * 2 / _WAVES)

        def waves(side: int) -> Tensor:
            places = torch.arange(1, side + 1, device=weight.device) / (side + _EPS)
            angles = places[:, None] * (2 * math.pi) / lengths
            return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1)

        rows, columns = waves(height)[:, None], waves(width)[None]
        code = torch.cat([rows.expand(-1, width, -1), columns.expand(height, -1, -1)], 2)
        return F.linear(code.to(weight.dtype), weight.flatten(1), self.token_projection.bias)


class Mlp(nn.Module):
    """Two linear layers with a GELU between, applied at each place."""

    def __init__(self, width: int, rank: float) -> None:
        super().__init__()
        self.fc1 = linear(width, _WIDER * width, rank)
        self.fc2 = linear(_WIDER * width, width, rank)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class LowRank(nn.Module):
    """A linear layer whose matrix is the product of two, the first without bias."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, rank, bias=False)
        self.linear2 = nn.Linear(rank, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return self.linear2(self.linear1(x))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  its base's name
        """Map (B, C, H, W) to the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def linear(inputs: int, outputs: int, rank: float) -> nn.Module:
    """Return a linear layer, whole or of a rank that is this share of its smaller side."""
    if not rank:
        return nn.Linear(inputs, outputs)
    return LowRank(inputs, outputs, low_rank(inputs, outputs, rank))


def low_rank(inputs: int, outputs: int, share: float) -> int:
    """Return the rank of a layer of low rank, at least 2."""
    return max(2, int(min(inputs, outputs) * share))


def _initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), cut off at two deviations on either side; biases are 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


LANDMARK = "stages.0.blocks.0.conv_dw.weight"
_PACKED = "._packed_params._packed_params"
_BOOKKEEPING = re.compile(r"(.*)\.(scale|zero_point)")
_NARROW = "stages.0.blocks.0.mlp.fc1.linear1.weight"


def unpack(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict, those of quantised linear layers as float32.

    Args:
        content: whatever a program saved by name; what is no tensor and holds none is left out,
            as is a tensor that claims more values than were saved.
    """
    packed = {
        name.removesuffix(_PACKED): pair
        for name, pair in content.items()
        if isinstance(name, str) and name.endswith(_PACKED)
    }
    tensors = {
        name: tensor
        for name, tensor in content.items()
        if isinstance(tensor, torch.Tensor)
        and _is_whole(tensor)
        and not ((match := _BOOKKEEPING.fullmatch(name)) and match[1] in packed)
    }
    for layer, pair in packed.items():
        held = pair if isinstance(pair, tuple) else ()
        for end, tensor in zip(("weight", "bias"), held, strict=False):
            if isinstance(tensor, torch.Tensor) and _is_whole(tensor):
                whole = tensor.dequantize() if tensor.is_quantized else tensor.detach()
                tensors[f"{layer}.{end}"] = whole
    return tensors


def _is_whole(tensor: Tensor) -> bool:
    """Whether each value lies in the file: a stride of 0 makes billions of one."""
    if tensor.layout is not torch.strided:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def arguments_of(tensors: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """Tell how `EdgeFace` is built to take some tensors by bare names.

    Raises:
        WeightsError: of no published size, or without the last layer.
    """
    widths = tuple(_width(tensors, stage) for stage in range(4))
    size = next((name for name, each in SIZES.items() if each.widths == widths), None)
    heads = (tensors.get(f"head.fc.{name}") for name in ("weight", "linear2.weight"))
    head = next((each for each in heads if each is not None), None)
    if size is None or head is None or head.ndim != 2:
        raise WeightsError(
            f"{where}: stages of {list(widths)} channels are no EdgeFace of {', '.join(SIZES)}, "
            "or the last layer is missing"
        )
    arguments: dict[str, Any] = {"embedding_dim": len(head), "size": size}
    if _NARROW in tensors:
        arguments["rank"] = _rank(tensors, where)
    return arguments


def _width(tensors: Mapping[str, Tensor], stage: int) -> int:
    first = tensors.get(f"stages.{stage}.blocks.0.conv_dw.weight")
    return 0 if first is None else len(first)


def _rank(tensors: Mapping[str, Tensor], where: str) -> float:
    """Return the share, in hundredths, that gives all layers of low rank theirs."""
    ranks = {
        (first.shape[1], len(tensors[name.replace("linear1", "linear2")]), len(first))
        for name, first in tensors.items()
        if name.endswith(".linear1.weight") and name.replace("linear1", "linear2") in tensors
    }
    for share in (percent / 100 for percent in (*range(10, 100, 10), *range(1, 100))):
        if all(low_rank(i, o, share) == rank for i, o, rank in ranks):
            return share
    raise WeightsError(f"{where}: its low-rank layers have no rank in common")
