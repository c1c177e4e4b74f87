"""Embeddings on disk: the layout of the HDF5 file, and writing it in constant memory.

Layout (N rows, D values): `embeddings` (N, D) float32 of unit norm, `keys`, `identities` and
`mask_type` (N,) UTF-8, `norms` (N,) float32 before normalisation, `masked` (N,) int8 with -1
unknown, 0, 1, `positions` (N,) int64 places among the inputs; group `skipped` with `keys`,
`reasons` and `positions` of the inputs that gave no vector. Root attributes say the model, the
hash of its weights, flip averaging, and `complete`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfrkit import __version__
from mfrkit.io.files import replacing
from mfrkit.io.hdf5 import FallibleFile

SCHEMA = 1
_CHUNK_ROWS = 256  # a small file stays small: HDF5 stores whole chunks
_TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True)
class Rows:
    """Some consecutive rows of an embedding file, and the inputs skipped among them.

    Attributes:
        embeddings: (N, D) float32, unit norm.
        keys: N names.
        identities: N names, empty where unknown.
        norms: (N,) float32, before normalisation.
        masked: (N,) int8: -1 unknown, 0 no, 1 yes.
        mask_type: N mask kinds, empty where unknown.
        positions: (N,) int64, ascending places among the inputs.
        skipped_keys: M names of inputs without a vector.
        skipped_reasons: M reasons.
        skipped_positions: (M,) int64.
    """

    embeddings: NDArray[np.float32]
    keys: list[str]
    identities: list[str]
    norms: NDArray[np.float32]
    masked: NDArray[np.int8]
    mask_type: list[str]
    positions: NDArray[np.int64]
    skipped_keys: list[str]
    skipped_reasons: list[str]
    skipped_positions: NDArray[np.int64]

    @classmethod
    def empty(cls, dim: int = 0) -> "Rows":
        """Return no rows at all."""
        nowhere = np.empty(0, np.int64)
        return cls(
            embeddings=np.empty((0, dim), np.float32),
            keys=[],
            identities=[],
            norms=np.empty(0, np.float32),
            masked=np.empty(0, np.int8),
            mask_type=[],
            positions=nowhere,
            skipped_keys=[],
            skipped_reasons=[],
            skipped_positions=nowhere,
        )


FIELD_TYPES: dict[str, Any] = {
    "embeddings": np.float32,
    "keys": _TEXT,
    "identities": _TEXT,
    "norms": np.float32,
    "masked": np.int8,
    "mask_type": _TEXT,
    "positions": np.int64,
    "skipped_keys": _TEXT,
    "skipped_reasons": _TEXT,
    "skipped_positions": np.int64,
}


def dataset_name(field: str) -> str:
    """Return where a field of `Rows` lives in the file.

    Example:
        >>> dataset_name("skipped_keys"), dataset_name("mask_type")
        ('skipped/keys', 'mask_type')
    """
    group, _, name = field.partition("_")
    return f"skipped/{name}" if group == "skipped" else field


def write_embeddings(
    path: Path, blocks: Iterable[Rows], dim: int, attributes: dict[str, Any]
) -> int:
    """Write a complete embedding file from blocks of rows; memory is one block.

    Args:
        path: final name; it appears only when the file is complete.
        blocks: in row order.
        dim: D, needed when no input gave a vector.
        attributes: root attributes beside schema, version, date, count and `complete`.

    Returns:
        The number of rows.

    Raises:
        OSError: the file system refused.
    """
    with replacing(path) as temporary, FallibleFile(temporary) as target:
        with h5py.File(target, "w") as file:
            _create(file, dim)
            for block in blocks:
                _append(file, block)
                target.check()
            count = len(file["keys"])
            file.attrs.update(attributes)
            file.attrs.update(
                schema=SCHEMA,
                mfrkit=__version__,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                count=count,
                complete=True,
            )
        target.check()
    return count


def _create(file: h5py.File, dim: int) -> None:
    for name, kind in FIELD_TYPES.items():
        tail = (dim,) if name == "embeddings" else ()
        file.create_dataset(
            dataset_name(name),
            (0, *tail),
            kind,
            maxshape=(None, *tail),
            chunks=(_CHUNK_ROWS, *tail),
        )


def _append(file: h5py.File, block: Rows) -> None:
    for field in fields(Rows):
        values = getattr(block, field.name)
        if len(values):
            dataset = file[dataset_name(field.name)]
            start = len(dataset)
            dataset.resize(start + len(values), axis=0)
            dataset[start:] = (
                list(map(_stored, values)) if FIELD_TYPES[field.name] is _TEXT else values
            )


def _stored(text: str) -> bytes:
    """Encode text for HDF5: bytes of names as they are; NUL, which it cannot hold, replaced."""
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character
        content = text.encode("utf-8", "replace")
    return content.replace(b"\0", "\ufffd".encode())
