"""Build networks, fresh or with the weights of a model. Importing this needs no torch."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import mismatches
from mfrkit.models.architectures import ARCHITECTURES, FOREIGN
from mfrkit.models.cards import ModelCard, Task
from mfrkit.models.model_files import (
    find_model,
    name_hint,
    read_card,
    read_tensors,
    write_model,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mfrkit.models.recogniser import Recogniser


def build_network(architecture: str, arguments: Mapping[str, object]) -> "nn.Module":
    """Build a network with fresh weights.

    Raises:
        InputError: no such architecture, or it does not take these arguments.

    Example:
        >>> network = build_network("mobilefacenet", {"embedding_dim": 128})
        >>> type(network).__name__
        'MobileFaceNet'
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"unknown architecture {architecture!r}{name_hint(architecture, ARCHITECTURES)}"
        )
    module, factory = ARCHITECTURES[architecture]
    try:
        network: nn.Module = getattr(importlib.import_module(module), factory)(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        text = str(error).splitlines()[0]
        raise InputError(f"architecture {architecture} with {dict(arguments)}: {text}") from error
    return network


def load_network(model: str, device: "torch.device | str" = "cpu") -> tuple["nn.Module", ModelCard]:
    """Build a model's network and load its weights, checked by hash, name and shape.

    Args:
        model: bundled name or model file.
        device: where the network goes.

    Returns:
        The network in eval mode, and its card.

    Raises:
        InputError: no such model.
        WeightsError: the file is damaged or does not fit its architecture.
    """
    card, tensors = read_tensors(model)
    path = find_model(model)
    try:
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

    Returns:
        The network, or that part of a network of several tasks which does this one; and its card.

    Raises:
        InputError: no such model, or it is for another task.
        WeightsError: as `load_network`.
    """
    from mfrkit.models.multitask import part_for

    card, _, path = read_card(model)
    if task not in card.tasks:
        raise InputError(
            f"{path}: is for {', '.join(card.tasks)}, not {task}; choose another model"
        )
    network, card = load_network(model, device)
    return part_for(task, network, card), card


def is_foreign(model: str) -> bool:
    """Whether a model's card comes with loading it: a file of another program, or two models.

    Example:
        >>> is_foreign("w600k_r50.onnx"), is_foreign("completion+arcface"), is_foreign("arcface")
        (True, True, False)
    """
    return Path(model).suffix in FOREIGN or is_completed(model)


def is_completed(model: str) -> bool:
    """Whether a name is that of a completion generator and a recogniser with a plus between.

    Example:
        >>> is_completed("completion+arcface"), is_completed("arcface")
        (True, False)
    """
    return "+" in model and not Path(model).is_file()


def load_recogniser(model: str, device: "torch.device | str" = "cpu") -> "Recogniser":
    """Load a model that turns faces into embeddings.

    Args:
        model: bundled name, model file, a file of another program (`FOREIGN`), or
            `GENERATOR+RECOGNISER`, which sees completed faces.
        device: where it goes.

    Returns:
        The recogniser in eval mode.

    Raises:
        InputError: no such model, or it is for another task.
        WeightsError: as `load_network`.

    Example:
        >>> load_recogniser("arcface").card.embedding_dim
        192
    """
    from mfrkit.models.recogniser import Recogniser

    if is_completed(model):
        from mfrkit.models.completing import load_completing

        return load_completing(*model.split("+", 1)).to(device)
    if is_foreign(model):
        module, reader = FOREIGN[Path(model).suffix]
        foreign: Recogniser = getattr(importlib.import_module(module), reader)(Path(model))
        return foreign.to(device)
    network, card = load_for_task(model, "recognition", device)
    return Recogniser(network, card).to(device).eval()


def recogniser_card(model: str) -> ModelCard:
    """Return a recogniser's card, without loading its network where the file has it.

    Args:
        model: as for `load_recogniser`, which also names the errors.
    """
    return load_recogniser(model).card if is_foreign(model) else read_card(model)[0]


def save_network(path: Path, network: "nn.Module", card: ModelCard) -> None:
    """Write a network and its card as a model file.

    Args:
        path: file to write.
        network: the bare network, without the recogniser or any wrapper around it.
        card: its card; `sha256` is filled in.

    Raises:
        WeightsError: weights that the card says are another model's are not.
    """
    write_model(path, network.state_dict(), card)


def _shapes(tensors: "Mapping[str, torch.Tensor]") -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
