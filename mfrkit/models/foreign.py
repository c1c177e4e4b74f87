"""Recognisers trained elsewhere: networks of InsightFace, AdaFace and EdgeFace and their kin.

The architecture is read off the parameter names, whatever wrapper the training code put round
them. Such a file is a pickle; only tensors and plain containers are unpickled, never code.

Source:
    Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022,
    arXiv:2204.00964. Its networks are those of `mfrkit.models.iresnet` under other names, with two
    differences that change no value: the first unit's shortcut picks every second pixel where ours
    convolves, and the last batch norm has neither scale nor shift.
"""

import pickle
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import file_sha256, load_pickled, mismatches
from mfrkit.models import edgeface
from mfrkit.models.cards import Feeding, ModelCard, describe
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.registry import build_network

ADAFACE_LANDMARK = "body.0.res_layer.1.weight"
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


def from_adaface(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under our names, completed by those AdaFace does without.

    Names that are not AdaFace's are kept, for the check that comes after to complain of.
    """
    places = _places(tensors)
    renamed = {_rename(name, places): tensor for name, tensor in tensors.items()}
    head = renamed.get("fc.weight")
    if head is not None:
        renamed.setdefault("features.weight", torch.ones(len(head)))
        renamed.setdefault("features.bias", torch.zeros(len(head)))
    width = len(tensors[ADAFACE_LANDMARK])
    shortcut = {
        "0.weight": torch.eye(width).view(width, width, 1, 1),
        "1.weight": torch.ones(width),
        "1.bias": torch.zeros(width),
        "1.running_mean": torch.zeros(width),
        # With what batch norm adds to it, this is 1.
        "1.running_var": torch.full((width,), 1 - _NORM_EPS),
    }
    return {f"layer1.0.downsample.{name}": tensor for name, tensor in shortcut.items()} | renamed


def _places(tensors: Mapping[str, Tensor]) -> dict[str, str]:
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


# Units in each stage -> architecture.
_DEPTHS: Mapping[tuple[int, ...], str] = {
    (2, 2, 2, 2): "iresnet18",
    (3, 4, 6, 3): "iresnet34",
    (3, 4, 14, 3): "iresnet50",
    (3, 13, 30, 3): "iresnet100",
    (6, 26, 60, 6): "iresnet200",
}
# Which of several networks in one file is meant, the likeliest first.
_CONTAINERS = (
    "state_dict", "model", "backbone", "network", "net", "state_dict_backbone", "model_state_dict",
    "student", "ema",
)  # fmt: skip
_MAGFACE = "features"  # MagFace's training code holds its network under this name
_DEPTH = 5  # of containers in containers
# Every such network has one of these; what stands before it is a wrapper.
_LANDMARK = "layer1.0.conv1.weight"
_LANDMARKS = (_LANDMARK, ADAFACE_LANDMARK, edgeface.LANDMARK)
# What reading the names in a file that is no checkpoint makes torch raise.
_NO_NAMES = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError,
    AttributeError, AssertionError, struct.error,
)  # fmt: skip
# Of classes that PyTorch Lightning keeps beside the weights.
_BOOKKEEPING = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "argparse.Namespace")


def load_foreign(path: Path) -> Recogniser:
    """Load a network of InsightFace's, AdaFace's or EdgeFace's names, bare or in a checkpoint.

    Convention:
        RGB, (value - 0.5) / 0.5, as arcface_torch, ElasticFace, MaskInv and EdgeFace feed theirs;
        the same in BGR for AdaFace; plain BGR from 0 to 1 for MagFace.

    Raises:
        InputError: there is no such file.
        WeightsError: not loadable without running code, or no network of this family.
    """
    tensors, wrapper = strip_wrappers(read_tensors(path), str(path))
    family, feeding = _family(tensors, wrapper)
    tensors, architecture, arguments = identify(tensors, str(path))
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
        sha256=file_sha256(path),
        **vars(feeding),
    )
    note = f"{describe(card)}, as {family} does, whose names the parameters have."
    return Recogniser(network, replace(card, note=note)).eval()


def _family(tensors: Mapping[str, Tensor], wrapper: str) -> tuple[str, Feeding]:
    """Tell whose network it is, and how it is fed, from names and what stood before them."""
    if ADAFACE_LANDMARK in tensors:
        return "AdaFace", Feeding("BGR", (0.5,) * 3, (0.5,) * 3)
    if edgeface.LANDMARK not in tensors and _MAGFACE in wrapper.split("."):
        return "MagFace", Feeding("BGR", (0.0,) * 3, (1.0,) * 3)
    family = "EdgeFace" if edgeface.LANDMARK in tensors else "arcface_torch"
    return family, Feeding("RGB", (0.5,) * 3, (0.5,) * 3)


def strip_wrappers(content: object, where: str) -> tuple[dict[str, Tensor], str]:
    """Find the network's tensors in what a training program saved, in containers of any depth.

    Returns:
        Tensors by bare parameter names, and what stood before the names; other networks' tensors
        are left out.

    Raises:
        WeightsError: no network of this family inside, or several of which none is likelier.
    """
    found = dict(_networks(content, ()))
    if not found:
        held = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else ""
        raise WeightsError(
            f"{where}: holds no iResNet in InsightFace's or AdaFace's parameter names and no "
            f"EdgeFace{f', but {held}' if held else ''}; convert it to one, or name a bundled "
            "model or a .safetensors file"
        )
    depth = max(map(len, found))
    ranks = [_ranks(place, depth) for place in found]
    if ranks.count(min(ranks)) > 1:
        places = ", ".join(".".join(place) for place in found)
        raise WeightsError(
            f"{where}: holds several networks: {places}; save the one you want alone"
        )
    return found[list(found)[ranks.index(min(ranks))]]


def _networks(
    content: object, place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[dict[str, Tensor], str]]]:
    """Yield the networks in a container, under the names of the containers they are in."""
    if not isinstance(content, Mapping) or len(place) > _DEPTH:
        return
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    tensors = edgeface.unpack(named)
    marks = [(name, mark) for name in tensors for mark in _LANDMARKS if _ends_in(name, mark)]
    for prefix in dict.fromkeys(name[: -len(mark)] for name, mark in marks):
        bare = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        yield (*place, *prefix.split(".")[:-1]), (bare, prefix)
    for key, value in content.items():
        yield from _networks(value, (*place, str(key)))


def _ends_in(name: str, mark: str) -> bool:
    return name == mark or name.endswith("." + mark)


def _ranks(place: tuple[str, ...], depth: int) -> list[int]:
    """Return how unlikely each container around a network is, the outermost first."""
    last = len(_CONTAINERS)
    ranks = [_CONTAINERS.index(name) if name in _CONTAINERS else last for name in place]
    return [*ranks, *[last if place else 0] * (depth - len(place))]


def identify(
    tensors: dict[str, Tensor], where: str
) -> tuple[dict[str, Tensor], str, dict[str, Any]]:
    """Tell an architecture from its parameters.

    Returns:
        The tensors under the names they have here, the architecture and its arguments.

    Raises:
        WeightsError: a depth, head or shape that is not known.
    """
    try:
        if edgeface.LANDMARK in tensors:
            return tensors, "edgeface", edgeface.arguments_of(tensors, where)
        if ADAFACE_LANDMARK in tensors:
            tensors = from_adaface(tensors)
        return tensors, *_iresnet(tensors, where)
    except (TypeError, IndexError) as error:  # of tensors with fewer dimensions than theirs
        raise WeightsError(f"{where}: tensors of other shapes than their names say") from error


def _iresnet(tensors: Mapping[str, Tensor], where: str) -> tuple[str, dict[str, Any]]:
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


class _Inert(dict[Any, Any]):
    """Stands for any object of a training program: takes everything, does nothing."""

    def __new__(cls, *_: object, **__: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


def read_tensors(path: Path) -> object:
    """Unpickle a PyTorch file: tensors and plain containers, never code.

    Raises:
        InputError: there is no such file.
        WeightsError: it is damaged, or no such file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    try:
        with torch.serialization.safe_globals(_stand_ins(path)):
            return load_pickled(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors and was not loaded; save its state_dict() alone"
        ) from error


def _stand_ins(path: Path) -> list[Any]:
    """Return what to unpickle in place of the classes a checkpoint of Lightning's refers to.

    Nothing of Lightning's is imported or called, whether it is installed or not.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except _NO_NAMES:  # older than the zip form, or damaged: no Lightning
        return []
    return [(_Inert, name) for name in names if name.startswith(_BOOKKEEPING)]
