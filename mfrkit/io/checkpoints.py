"""Model files: safetensors whose metadata holds the whole model card.

Layout: eight bytes little-endian header length; a JSON header that maps each tensor to its type,
shape and byte range, with the card as JSON text under `__metadata__` / `card`; the tensor bytes.
The card's `sha256` is that of the tensor bytes, so a card can be amended without touching them.

The header is read with the standard library alone: listing models must not load torch.
"""

import hashlib
import json
import math
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.documents import parse_json
from mfrkit.io.files import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_CARD = "card"
_NAMED = 3  # tensors in a message
_LARGEST_HEADER = 100_000_000  # bytes, the limit of the format's own library
_NO_HEADER = (
    InputError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError
)  # fmt: skip
# What torch, zipfile and the unpickler raise on a file that is cut short or is none.
_NO_PICKLE = (
    RuntimeError, OSError, EOFError, ValueError, TypeError, AttributeError, LookupError,
    AssertionError, ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
_REMEDY = "get the file again, or reinstall mfrkit if it is a bundled one"


@dataclass(frozen=True)
class Header:
    """What a model file says about itself before its tensors."""

    card: dict[str, Any]  # the model card as JSON types
    shapes: dict[str, tuple[int, ...]]  # tensor name -> shape
    start: int  # where the tensor bytes begin in the file

    @property
    def parameters(self) -> int:
        """The number of values in all tensors."""
        return sum(map(math.prod, self.shapes.values()))


def read_header(path: Path) -> Header:
    """Read the card and the tensor table of a model file, not the tensors.

    Raises:
        InputError: there is no such file.
        WeightsError: not a safetensors file, cut short, or without a model card.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= _LARGEST_HEADER:
            raise WeightsError(f"{path}: not a safetensors file; give a model written by mfrkit")
        if size < 8 + length:
            raise WeightsError(f"{path}: truncated in its header; {_REMEDY}")
        text = file.read(length)
    try:
        table = parse_json(text, str(path))
        metadata = table.pop("__metadata__", {})
        shapes = {name: _shape(entry["shape"], size) for name, entry in table.items()}
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
        card = parse_json(metadata.get(_CARD, "null"), str(path))
    except _NO_HEADER as error:
        raise WeightsError(f"{path}: not a readable safetensors header; {_REMEDY}") from error
    if size != 8 + length + end:
        raise WeightsError(f"{path}: {size} bytes, its header says {8 + length + end}; {_REMEDY}")
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: holds no model card, so it was not written by mfrkit")
    return Header(card, shapes, 8 + length)


def _shape(sides: Sequence[int], size: int) -> tuple[int, ...]:
    """Return a tensor's shape if a file of `size` bytes can hold one of it."""
    shape = tuple(map(int, sides))
    count = 1
    for side in shape:
        count *= side
        if not 0 <= count <= 8 * size:
            raise ValueError(f"a tensor of {count} values in {size} bytes")
    return shape


def file_sha256(path: Path, start: int = 0) -> str:
    """Hash a file from byte `start` to its end, as lower-case hexadecimal digits."""
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_model(path: Path, tensors: Mapping[str, "Tensor"], card: Mapping[str, Any]) -> None:
    """Write a model file whole: the same tensors and card give the same bytes.

    An earlier file is replaced, and kept when writing fails. The card's `sha256` is filled in.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    _write(path, content, card)


def rewrite_card(path: Path, card: Mapping[str, Any]) -> None:
    """Replace the card of a model file, for example to add metrics; the tensor bytes stay.

    Works on any safetensors file, so it is also how foreign weights get their first card.
    """
    _write(path, path.read_bytes(), card)


def _write(path: Path, content: bytes, card: Mapping[str, Any]) -> None:
    start = 8 + int.from_bytes(content[:8], "little")
    table, data = json.loads(content[8:start]), content[start:]
    card = {**card, "sha256": hashlib.sha256(data).hexdigest()}
    header = json.dumps({**table, "__metadata__": {_CARD: json.dumps(card)}}).encode()
    header += b" " * (-len(header) % 8)  # the format wants the tensors aligned
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load_tensors(path: Path, header: Header) -> dict[str, "Tensor"]:
    """Load all tensors of a file with this header to the CPU.

    Raises:
        WeightsError: the tensor bytes are not those the card was written for.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if file_sha256(path, header.start) != header.card.get("sha256"):
        raise WeightsError(f"{path}: tensors do not match the card's SHA-256; {_REMEDY}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path}: {error}; {_REMEDY}") from error


def load_arrays(path: Path, names: Sequence[str]) -> list["NDArray[np.float32]"]:
    """Load some tensors of a model file as float32 arrays, without torch."""
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return [file.get_tensor(name).astype(np.float32) for name in names]
    except SafetensorError as error:
        raise WeightsError(f"{path}: {error}; {_REMEDY}") from error


def load_pickled(path: Path) -> Any:
    """Unpickle a PyTorch file: tensors and plain containers, never code.

    Raises:
        FileNotFoundError: there is no such file.
        pickle.UnpicklingError: it holds more than those.
        WeightsError: damaged, or compressed: PyTorch's are not, and would unfold without bound.
    """
    import torch

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unfolded = sum(entry.file_size for entry in archive.infolist())
            if unfolded > path.stat().st_size:
                raise WeightsError(f"{path}: unfolds to {unfolded} bytes; {_REMEDY}")
        with warnings.catch_warnings(action="ignore"):  # of other protocols, which it reads
            return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, pickle.UnpicklingError):
        raise
    except _NO_PICKLE as error:
        raise WeightsError(f"{path}: damaged, or no PyTorch file") from error


def mismatches(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """Describe how the tensors of a file differ from those of a network, empty if they do not."""
    reshaped = [
        f"{name} {found[name]} instead of {shape}"
        for name, shape in expected.items()
        if found.get(name, shape) != shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "of another shape": reshaped,
    }
    return ", ".join(
        f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for kind, names in kinds.items()
        if names
    )
