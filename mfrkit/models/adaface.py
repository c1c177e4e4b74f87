"""AdaFace's residual networks in our parameter names.

Source:
    Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022,
    arXiv:2204.00964. Its networks are those of `mfrkit.models.iresnet` under other names, with two
    differences that change no value: the first unit's shortcut picks every second pixel where ours
    convolves, and the last batch norm has neither scale nor shift.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LANDMARK = "body.0.res_layer.1.weight"
_ENDS: Mapping[str, str] = {
    "input_layer.0": "conv1",
    "input_layer.1": "bn1",
    "input_layer.2": "prelu",
    "output_layer.0": "bn2",
    "output_layer.3": "fc",
    "output_layer.4": "features",
}
_PARTS: Mapping[str, str] = {
    "res_layer.0": "bn1",
    "res_layer.1": "conv1",
    "res_layer.2": "bn2",
    "res_layer.3": "prelu",
    "res_layer.4": "conv2",
    "res_layer.5": "bn3",
    "shortcut_layer.0": "downsample.0",
    "shortcut_layer.1": "downsample.1",
}
_NORM_EPS = 1e-5


def rename(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return the tensors under our names, completed by those AdaFace does without.

    Names that are not AdaFace's are kept, for the check that comes after to complain of.

    Args:
        tensors: by bare names.
    """
    import torch

    places = _places(tensors)
    renamed = {_rename(name, places): tensor for name, tensor in tensors.items()}
    head = renamed.get("fc.weight")
    if head is not None:
        renamed.setdefault("features.weight", torch.ones(len(head)))
        renamed.setdefault("features.bias", torch.zeros(len(head)))
    width = len(tensors[LANDMARK])
    shortcut = {
        "0.weight": torch.eye(width).view(width, width, 1, 1),
        "1.weight": torch.ones(width),
        "1.bias": torch.zeros(width),
        "1.running_mean": torch.zeros(width),
        # With what batch norm adds to it, this is 1.
        "1.running_var": torch.full((width,), 1 - _NORM_EPS),
    }
    return {f"layer1.0.downsample.{name}": tensor for name, tensor in shortcut.items()} | renamed


def _places(tensors: "Mapping[str, Tensor]") -> dict[str, str]:
    """Return stage and unit in our names for the number of each unit in one row of them all."""
    convolutions = (f"body.{number}.res_layer.1.weight" for number in range(len(tensors)))
    places: dict[str, str] = {}
    stage, unit, width = 0, 0, 0
    for number, name in enumerate(convolutions):
        if name not in tensors:
            break
        # A stage is a row of units of one width.
        stage, unit = (stage, unit + 1) if len(tensors[name]) == width else (stage + 1, 0)
        width = len(tensors[name])
        places[str(number)] = f"layer{stage}.{unit}"
    return places


def _rename(name: str, places: Mapping[str, str]) -> str:
    if match := re.fullmatch(r"body\.(\d+)\.(\w+\.\d+)\.(\w+)", name):
        number, part, value = match.groups()
        if number in places and part in _PARTS:
            return f"{places[number]}.{_PARTS[part]}.{value}"
    owner, _, value = name.rpartition(".")
    return f"{_ENDS[owner]}.{value}" if owner in _ENDS else name
