"""Models: their files found, checked, read and written, and networks built from them.

A bundled model may have parts in common with another one, which its file then leaves out.
Architectures, and readers of other programs' files, are found by name: importing this needs no
torch.
"""

import difflib
import hashlib
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import (
    Header,
    file_sha256,
    load_tensors,
    mismatches,
    read_header,
    save_model,
)
from mfrkit.models.cards import BUNDLED, ModelCard, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


WEIGHTS = Path(__file__).parent.parent / "data" / "weights"


def find_model(model: str) -> Path:
    """Return the file of a bundled name, or the file itself.

    Raises:
        InputError: neither a bundled name nor a file.
        WeightsError: a bundled name whose file was removed.
    """
    if model in BUNDLED:
        path = WEIGHTS / f"{model}.safetensors"
        if not path.is_file():
            raise WeightsError(f"{path}: bundled model is not there; reinstall mfrkit")
        return path
    path = Path(model)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"{model}: no such model file")
    raise InputError(
        f"unknown model {model!r}{name_hint(model, BUNDLED)}; or give a .safetensors file"
    )


def name_hint(name: str, known: Mapping[str, object]) -> str:
    """Return what may be meant by an unknown name, and all that are known."""
    near = difflib.get_close_matches(name, known, n=1)
    return (f"; did you mean {near[0]}?" if near else ";") + f" Known: {', '.join(sorted(known))}"


def read_card(model: str) -> tuple[ModelCard, Header, Path]:
    """Read a model's card without loading its tensors.

    Args:
        model: bundled name or model file.

    Returns:
        The card, whose `sha256` stands for shared weights too; the file's header; and the file.

    Raises:
        InputError: no such model.
        WeightsError: the file is no model file, or its card is damaged.
    """
    path = find_model(model)
    header = read_header(path)
    try:
        card = ModelCard.from_json(header.card)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return replace(card, sha256=_identity(card, path)), header, path


def verify(model: str, header: Header, path: Path) -> bool:
    """Tell whether a model file holds the bytes it should.

    A bundled name is held to the hash that came with this version of mfrkit, which covers the
    card too; any other file to the hash of the tensors in its own card.
    """
    if model in BUNDLED:
        return file_sha256(path) == BUNDLED[model]
    return file_sha256(path, header.start) == header.card.get("sha256")


def read_tensors(model: str) -> tuple[ModelCard, dict[str, "Tensor"]]:
    """Read a model's weights whole, with those its file shares with others.

    Returns:
        Its card, which says of nothing that it is shared, as nothing any longer is; and its tensors
        by name, on the CPU.

    Raises:
        InputError: no such model.
        WeightsError: the file, or one it shares weights with, is damaged.
    """
    card, header, path = read_card(model)
    if model in BUNDLED and not verify(model, header, path):
        raise WeightsError(f"{path}: not the {model} of this version of mfrkit; reinstall mfrkit")
    return replace(card, shared={}), load_tensors(path, header) | _shared_tensors(card, path)


def write_model(path: Path, tensors: Mapping[str, "Tensor"], card: ModelCard) -> None:
    """Write a model file, without the weights its card says are another model's.

    The card's `sha256` is filled in.

    Raises:
        WeightsError: weights that are said to be shared are not those of the other model.
    """
    import torch

    own = dict(tensors)
    for name, tensor in _shared_tensors(card, path).items():
        if name not in own or not torch.equal(own.pop(name), tensor.to(tensors[name].dtype)):
            raise WeightsError(f"{path}: {name} is not the tensor its card says it shares")
    save_model(path, own, card.to_json())


def count_parameters(card: ModelCard, header: Header) -> int:
    """Return the number of values in all tensors of a model, shared ones too."""
    others = (read_card(model) for model in card.shared.values())
    return header.parameters + sum(count_parameters(card, header) for card, header, _ in others)


def _identity(card: ModelCard, path: Path) -> str:
    """Return the hash that tells models apart: of the file's tensors, and of those it shares."""
    if not card.shared:
        return card.sha256
    hashes = [
        card.sha256,
        *(read_card(_bundled(model, path))[0].sha256 for model in card.shared.values()),
    ]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _bundled(model: str, path: Path) -> str:
    """Return a model's name if it is bundled, so that its weights cannot change unnoticed."""
    if model not in BUNDLED:
        raise WeightsError(f"{path}: shares weights with {model}, which is not bundled")
    return model


def _shared_tensors(card: ModelCard, path: Path) -> dict[str, "Tensor"]:
    """Return the weights that are other models', under the names they have here."""
    return {
        f"{part}.{name}": tensor
        for part, model in card.shared.items()
        for name, tensor in read_tensors(_bundled(model, path))[1].items()
    }


# Architecture name -> where its class or factory lives.
ARCHITECTURES: Mapping[str, tuple[str, str]] = {
    "mobilefacenet": ("mfrkit.models.mobilefacenet", "MobileFaceNet"),
    "edgeface": ("mfrkit.models.edgeface", "EdgeFace"),
    "iresnet18": ("mfrkit.models.iresnet", "iresnet18"),
    "iresnet34": ("mfrkit.models.iresnet", "iresnet34"),
    "iresnet50": ("mfrkit.models.iresnet", "iresnet50"),
    "iresnet100": ("mfrkit.models.iresnet", "iresnet100"),
    "iresnet200": ("mfrkit.models.iresnet", "iresnet200"),
    "yunet": ("mfrkit.models.detectors", "OpenCVGraph"),
    "facemesh": ("mfrkit.models.detectors", "FaceMesh"),
    "mtcnn": ("mfrkit.models.detectors", "MTCNN"),
    "region": ("mfrkit.models.region", "RegionNet"),
    "completion-small": ("mfrkit.models.completion", "SmallCompletion"),
    "completion-paper": ("mfrkit.models.contextual", "ContextualCompletion"),
    "meer": ("mfrkit.models.meer", "MeerNet"),
    "eum": ("mfrkit.models.unmasking", "EmbeddingUnmasker"),
    "completion-guided": ("mfrkit.models.g2d", "GuidedUpsampler"),
    "generative": ("mfrkit.models.g2d", "GenerativeRecogniser"),
    "completing": ("mfrkit.models.combined", "build_completing"),
    "combined": ("mfrkit.models.combined", "build_combined"),
    "side-by-side": ("mfrkit.models.combined", "build_side_by_side"),
}

# Suffixes of other programs' files -> where their reader lives.
FOREIGN: Mapping[str, tuple[str, str]] = {
    ".pt": ("mfrkit.models.foreign", "load_foreign"),
    ".pth": ("mfrkit.models.foreign", "load_foreign"),
    ".ckpt": ("mfrkit.models.foreign", "load_foreign"),
    ".onnx": ("mfrkit.models.onnx", "load_onnx"),
}


# What arguments that make no sense, or too much of it, make a constructor raise.
_UNBUILDABLE = (
    TypeError, ValueError, RuntimeError, LookupError, AttributeError, ArithmeticError, MemoryError
)  # fmt: skip
_OWN_VALUES = 50_000_000  # that a network may have beyond its file: its shapes are compared then
_TENSOR_VALUES = 1_000  # that any tensor counts for at least: a layer costs memory without them
_LARGEST_ARGUMENT = 1_000_000


def build_network(architecture: str, arguments: Mapping[str, object]) -> "nn.Module":
    """Build a network with fresh weights.

    Raises:
        InputError: no such architecture, or it does not take these arguments.

    Example:
        >>> type(build_network("mobilefacenet", {"embedding_dim": 128})).__name__
        'MobileFaceNet'
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"unknown architecture {architecture!r}{name_hint(architecture, ARCHITECTURES)}"
        )
    module, factory = ARCHITECTURES[architecture]
    try:
        if not all(map(_is_sane, arguments.values())):
            raise ValueError(f"a number beyond {_LARGEST_ARGUMENT}")
        network: nn.Module = getattr(importlib.import_module(module), factory)(**arguments)
    except _UNBUILDABLE as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"architecture {architecture} with {dict(arguments)}: {text}") from error
    return network


def load_network(model: str, device: "torch.device | str" = "cpu") -> tuple["nn.Module", ModelCard]:
    """Build a model's network in eval mode and load its weights, checked by hash, name and shape.

    Raises:
        InputError: no such model.
        WeightsError: the file is damaged or does not fit its architecture.
    """
    card, tensors = read_tensors(model)
    path = find_model(model)
    try:
        with _no_larger_than(sum(map(_cost, tensors.values()))):
            network = build_network(card.architecture, card.arguments)
    except InputError as error:
        raise WeightsError(f"{path}: {error}") from error
    difference = mismatches(_shapes(network.state_dict()), _shapes(tensors))
    if difference:
        raise WeightsError(f"{path}: does not fit {card.architecture}: {difference}")
    network.load_state_dict(tensors)
    return network.to(device).eval(), card


def load_for_task(
    model: str, task: Task, device: "torch.device | str" = "cpu"
) -> tuple["nn.Module", ModelCard]:
    """Load a model that must be for a given task; otherwise as `load_network`.

    Of a network of several tasks it gives the part which does this one.

    Raises:
        InputError: no such model, or it is for another task.
    """
    from mfrkit.models.recogniser import part_for

    card_for_task(model, task)
    network, card = load_network(model, device)
    return part_for(task, network, card), card


def card_for_task(model: str, task: Task) -> ModelCard:
    """Return the card of a model that must be for a given task; errors as `load_for_task`."""
    card, _, path = read_card(model)
    if task not in card.tasks:
        raise InputError(
            f"{path}: is for {', '.join(card.tasks)}, not {task}; choose another model"
        )
    return card


def save_network(path: Path, network: "nn.Module", card: ModelCard) -> None:
    """Write a bare network, without any wrapper, as a model file; errors as `write_model`."""
    write_model(path, network.state_dict(), card)


@contextmanager
def _no_larger_than(values: int) -> Iterator[None]:
    """Stop the building of a network that grows beyond the file its card came in, as ValueError.

    A card of some bytes can ask for any number of layers of any width, all of them before their
    shapes could be compared with those of the file, whose values `_cost` counts.
    """
    from torch.nn.modules import module as modules

    left = values + _OWN_VALUES

    def count(_: object, name: str, tensor: "torch.Tensor | None") -> None:
        nonlocal left
        left -= 0 if tensor is None else _cost(tensor)
        if left < 0:
            raise ValueError(f"asks for more than its file holds, at {name}")

    hooks = (
        modules.register_module_parameter_registration_hook(count),
        modules.register_module_buffer_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _cost(tensor: "torch.Tensor") -> int:
    return max(_TENSOR_VALUES, tensor.numel())


def _is_sane(argument: object) -> bool:
    """Whether an argument, or each of a row of them, is no absurd number."""
    if isinstance(argument, list | tuple):
        return all(map(_is_sane, argument))
    return not isinstance(argument, int | float) or abs(argument) <= _LARGEST_ARGUMENT


def _shapes(tensors: "Mapping[str, torch.Tensor]") -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
