"""Model files: found by bundled name or path, described, checked, read and written.

A bundled model may have parts in common with another one, which its file then leaves out. Nothing
here builds a network, and nothing but reading and writing tensors needs torch.
"""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import Header, file_sha256, load_tensors, read_header, save_model
from mfrkit.models.cards import BUNDLED, ModelCard

if TYPE_CHECKING:
    from torch import Tensor

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

    Args:
        model: bundled name or model file.

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

    Args:
        path: file to write.
        tensors: all of them, by name.
        card: its card; `sha256` is filled in.

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
