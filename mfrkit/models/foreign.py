"""Recognisers trained elsewhere: InsightFace-style residual networks in `.pt` and `.pth` files.

The architecture is read off the parameter names, whatever wrapper the training code put round them.
Such a file is a pickle; only tensors and plain containers are unpickled, never code.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import mismatches
from mfrkit.models.cards import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

    from mfrkit.models.recogniser import Recogniser

SUFFIXES = (".pt", ".pth")

# Units in each stage -> architecture.
_DEPTHS: Mapping[tuple[int, ...], str] = {
    (2, 2, 2, 2): "iresnet18",
    (3, 4, 6, 3): "iresnet34",
    (3, 4, 14, 3): "iresnet50",
    (3, 13, 30, 3): "iresnet100",
    (6, 26, 60, 6): "iresnet200",
}
_CONTAINERS = ("state_dict", "model", "backbone", "network", "net")
_LANDMARK = "layer1.0.conv1.weight"  # every such network has it; what stands before it is a wrapper


def load_foreign(path: Path) -> "Recogniser":
    """Load an InsightFace-style network, with InsightFace's normalisation.

    Convention:
        RGB, (value - 0.5) / 0.5, as arcface_torch, ElasticFace and MaskInv feed theirs.

    Args:
        path: a state dict, bare or inside a training checkpoint.

    Returns:
        The recogniser in eval mode, on the CPU.

    Raises:
        InputError: there is no such file.
        WeightsError: not loadable without running code, or no network of this family.
    """
    from mfrkit.models.recogniser import Recogniser
    from mfrkit.models.registry import build_network

    tensors = strip_wrappers(read_tensors(path), str(path))
    architecture, arguments = recognise(tensors, str(path))
    network = build_network(architecture, arguments)
    own = network.state_dict()
    # Older files lack the counters of batch norm, which nothing uses.
    kept = {**{n: t for n, t in own.items() if n.endswith("num_batches_tracked")}, **tensors}
    difference = mismatches(
        {name: tuple(tensor.shape) for name, tensor in own.items()},
        {name: tuple(tensor.shape) for name, tensor in kept.items()},
    )
    if difference:
        raise WeightsError(f"{path}: does not fit {architecture}: {difference}")
    network.load_state_dict(kept)
    card = ModelCard(
        name=path.stem,
        task="recognition",
        architecture=architecture,
        arguments=arguments,
        embedding_dim=arguments["embedding_dim"],
        source=path.name,
        note="Normalisation assumed from the family: RGB, (value - 0.5) / 0.5.",
    )
    return Recogniser(network, card).eval()


def strip_wrappers(content: object, where: str) -> "dict[str, Tensor]":
    """Find the network's tensors in what a training program saved.

    Args:
        content: a state dict, or a dict that holds one.
        where: the file, for messages.

    Returns:
        Tensors by bare parameter names; other networks' tensors are left out.

    Raises:
        WeightsError: no network of this family inside.
    """
    import torch

    if isinstance(content, Mapping):
        tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
        for name in tensors:
            if name == _LANDMARK or name.endswith("." + _LANDMARK):
                prefix = name[: -len(_LANDMARK)]
                return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        for key in _CONTAINERS:
            if isinstance(content.get(key), Mapping):
                return strip_wrappers(content[key], where)
    raise WeightsError(
        f"{where}: holds no iResNet in InsightFace's parameter names; convert it to one, or name a "
        "bundled model or a .safetensors file"
    )


def recognise(tensors: "Mapping[str, Tensor]", where: str) -> tuple[str, dict[str, Any]]:
    """Tell an architecture from its parameters.

    Args:
        tensors: by bare names.
        where: the file, for messages.

    Returns:
        The architecture and its arguments.

    Raises:
        WeightsError: a depth or head that is not known.
    """
    blocks = [
        {int(m[1]) for name in tensors if (m := re.match(rf"layer{stage}\.(\d+)\.", name))}
        for stage in range(1, 5)
    ]
    depths = tuple(len(stage) for stage in blocks)
    head = tensors.get("fc.weight")
    if depths not in _DEPTHS or head is None or head.ndim != 2:
        raise WeightsError(
            f"{where}: stages of {list(depths)} units are none of "
            f"{', '.join(_DEPTHS.values())}, or the last layer is missing"
        )
    return _DEPTHS[depths], {"embedding_dim": int(head.shape[0])}


def read_tensors(path: Path) -> object:
    """Unpickle a `.pt` or `.pth` file: tensors and plain containers, never code.

    Raises:
        InputError: there is no such file.
        WeightsError: it holds anything else, or is damaged.
    """
    import torch

    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors and was not loaded; save its state_dict() alone"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: damaged, or no PyTorch file") from error
