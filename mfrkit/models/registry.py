"""Find a model by bundled name or file, check it, and build it with its weights.

Finding and describing needs no torch; building imports it.
"""

import difflib
import importlib
from collections.abc import Mapping
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
from mfrkit.models.architectures import ARCHITECTURES, FOREIGN
from mfrkit.models.cards import BUNDLED, ModelCard, Task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mfrkit.models.recogniser import Recogniser

WEIGHTS = Path(__file__).parent.parent / "data" / "weights"


def find_model(model: str) -> Path:
    """Return the file of a bundled name, or the file itself.

    Raises:
        InputError: neither a bundled name nor a file.
        WeightsError: a bundled name whose file was removed.

    Example:
        >>> find_model("arcface").name
        'arcface.safetensors'
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
    raise InputError(f"unknown model {model!r}{_hint(model, BUNDLED)}; or give a .safetensors file")


def _hint(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return (f"; did you mean {near[0]}?" if near else ";") + f" Known: {', '.join(sorted(known))}"


def read_card(model: str) -> tuple[ModelCard, Header, Path]:
    """Read a model's card without loading its tensors.

    Args:
        model: bundled name or model file.

    Returns:
        The card, the file's header, and the file.

    Raises:
        InputError: no such model.
        WeightsError: the file is no model file, or its card is damaged.
    """
    path = find_model(model)
    header = read_header(path)
    try:
        return ModelCard.from_json(header.card), header, path
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def verify(model: str, card: ModelCard, header: Header, path: Path) -> bool:
    """Tell whether a model file holds the bytes it should.

    A bundled name is held to the hash that came with this version of mfrkit, which covers the
    card too; any other file to the hash of the tensors in its own card.
    """
    if model in BUNDLED:
        return file_sha256(path) == BUNDLED[model]
    return file_sha256(path, header.start) == card.sha256


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
            f"unknown architecture {architecture!r}{_hint(architecture, ARCHITECTURES)}"
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
    card, header, path = read_card(model)
    if model in BUNDLED and not verify(model, card, header, path):
        raise WeightsError(f"{path}: not the {model} of this version of mfrkit; reinstall mfrkit")
    tensors = load_tensors(path, header)
    try:
        network = build_network(card.architecture, card.arguments)
    except InputError as error:
        raise WeightsError(f"{path}: {error}") from error
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    difference = mismatches(expected, header.shapes)
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
    """
    save_model(path, network.state_dict(), card.to_json())
