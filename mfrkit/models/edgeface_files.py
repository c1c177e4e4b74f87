"""EdgeFace checkpoints: their size read off the tensors, 8-bit linear layers written out.

Source:
    George et al., "EdgeFace", IEEE T-BIOM 2024, arXiv:2307.01838. Published weights have timm's
    names; those whose names end in q went through PyTorch's dynamic quantisation, which packs
    weight and bias of each linear layer in a tuple.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfrkit.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

LANDMARK = "stages.0.blocks.0.conv_dw.weight"
_PACKED = "._packed_params._packed_params"
_BOOKKEEPING = re.compile(r"(.*)\.(scale|zero_point)")
_NARROW = "stages.0.blocks.0.mlp.fc1.linear1.weight"


def unpack(content: Mapping[Any, Any]) -> "dict[str, Tensor]":
    """Return the tensors of a state dict, those of quantised linear layers as float32.

    Args:
        content: whatever a program saved by name; what is no tensor and holds none is left out,
            as is a tensor that claims more values than were saved.
    """
    import torch

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


def _is_whole(tensor: "Tensor") -> bool:
    """Whether each value lies in the file: a stride of 0 makes billions of one."""
    import torch

    if tensor.layout is not torch.strided:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def arguments_of(tensors: "Mapping[str, Tensor]", where: str) -> dict[str, Any]:
    """Tell how `mfrkit.models.edgeface.EdgeFace` is built to take some tensors.

    Args:
        tensors: by bare names.
        where: the file, for messages.

    Raises:
        WeightsError: of no published size, or without the last layer.
    """
    from mfrkit.models.edgeface import SIZES

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


def _width(tensors: "Mapping[str, Tensor]", stage: int) -> int:
    first = tensors.get(f"stages.{stage}.blocks.0.conv_dw.weight")
    return 0 if first is None else len(first)


def _rank(tensors: "Mapping[str, Tensor]", where: str) -> float:
    """Return the share, in hundredths, that gives all layers of low rank theirs."""
    from mfrkit.models.edgeface import low_rank

    ranks = {
        (first.shape[1], len(tensors[name.replace("linear1", "linear2")]), len(first))
        for name, first in tensors.items()
        if name.endswith(".linear1.weight") and name.replace("linear1", "linear2") in tensors
    }
    for share in (percent / 100 for percent in (*range(10, 100, 10), *range(1, 100))):
        if all(low_rank(i, o, share) == rank for i, o, rank in ranks):
            return share
    raise WeightsError(f"{where}: its low-rank layers have no rank in common")
