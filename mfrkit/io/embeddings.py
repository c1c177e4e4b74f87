"""Embedding files: the layout of the HDF5 file, writing it in constant memory, and reading it.

Layout (N rows, D values): `embeddings` (N, D) float32 of unit norm, `keys`, `identities` and
`mask_type` (N,) UTF-8, `norms` (N,) float32 before normalisation, `masked` (N,) int8 with -1
unknown, 0, 1, `positions` (N,) int64 places among the inputs; group `skipped` with `keys`,
`reasons` and `positions` of the inputs that gave no vector. Root attributes say the model, the
hash of its weights, flip averaging, and `complete`. Of files by others only `embeddings` and
`keys` are required.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from mfrkit import __version__
from mfrkit.errors import InputError
from mfrkit.io.files import composed, key_of, replacing
from mfrkit.io.hdf5 import (
    FallibleFile,
    find_dataset,
    open_hdf5,
    read_attributes,
    read_texts,
    reading,
)

SCHEMA = 1
_KEYS = 65536  # read at a time
_CHUNK_ROWS = 256  # a small file stays small: HDF5 stores whole chunks
_TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True)
class Rows:
    """Some consecutive rows of an embedding file, and the inputs skipped among them."""

    embeddings: NDArray[np.float32]  # (N, D) float32, unit norm
    keys: list[str]
    identities: list[str]  # N names, empty where unknown
    norms: NDArray[np.float32]  # (N,) float32, before normalisation
    masked: NDArray[np.int8]  # (N,) int8: -1 unknown, 0 no, 1 yes
    mask_type: list[str]  # N mask kinds, empty where unknown
    positions: NDArray[np.int64]  # (N,) int64, ascending places among the inputs
    skipped_keys: list[str]  # M names of inputs without a vector
    skipped_reasons: list[str]
    skipped_positions: NDArray[np.int64]

    @classmethod
    def empty(cls, dim: int = 0) -> "Rows":
        """Return no rows at all."""
        nothing: dict[str, Any] = {
            name: [] if kind is _TEXT else np.empty(0, kind) for name, kind in _FIELDS.items()
        }
        return cls(**nothing | {"embeddings": np.empty((0, dim), np.float32)})


_FIELDS: dict[str, Any] = {
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


def _dataset_name(field: str) -> str:
    return field.replace("skipped_", "skipped/")


def write_embeddings(
    path: Path, blocks: Iterable[Rows], dim: int, attributes: dict[str, Any]
) -> int:
    """Write a complete embedding file from blocks of rows in order, and return the number of rows.

    Memory is one block. The file appears when it is complete. D is needed when no input gave a
    vector; schema, version, date, count and `complete` are added to the root attributes.
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
    for name, kind in _FIELDS.items():
        tail = (dim,) if name == "embeddings" else ()
        shapes = {"maxshape": (None, *tail), "chunks": (_CHUNK_ROWS, *tail)}
        file.create_dataset(_dataset_name(name), (0, *tail), kind, **shapes)


def _append(file: h5py.File, block: Rows) -> None:
    for name, kind in _FIELDS.items():
        values = getattr(block, name)
        if len(values):
            dataset = file[_dataset_name(name)]
            start = len(dataset)
            dataset.resize(start + len(values), axis=0)
            dataset[start:] = list(map(_stored, values)) if kind is _TEXT else values


def _stored(text: str) -> bytes:
    """Encode text for HDF5: bytes of names as they are; NUL, which it cannot hold, replaced."""
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character
        content = text.encode("utf-8", "replace")
    return content.replace(b"\0", "\ufffd".encode())


_NAMES = ("keys", "identities", "skipped_keys")


class Vectors(Protocol):
    """Vectors that are found by key: those of pictures, or of templates pooled from them."""

    path: Path
    dim: int

    @property
    def index(self) -> dict[str, int]:
        """Map each key to its row."""

    @property
    def skipped(self) -> dict[str, str]:
        """Map the keys that have no vector to the reason."""

    def rows(self, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return (M, D) float32, the vectors of (M,) rows, in the order asked."""


class EmbeddingReader:
    """Reads an embedding file; use as a context manager.

    Keys of other programs may be names of files: they lose their suffix, as those of pair lists do.

    Attributes:
        path: the file.
        count: N.
        dim: D.
        attributes: root attributes.

    Raises:
        InputError: missing, not HDF5, without `embeddings` and `keys`, or marked unfinished.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(f"{path}: no such file; mfrkit embed writes one")
        self._file = open_hdf5(path)
        try:
            self._data = self._find()
            self.attributes: dict[str, Any] = read_attributes(self._file, path)
            self._check()
        except InputError:
            self._file.close()
            raise
        self.count: int = self._data["embeddings"].shape[0]
        self.dim: int = self._data["embeddings"].shape[1]
        self._index: dict[str, int] | None = None

    def __enter__(self) -> "EmbeddingReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def index(self) -> dict[str, int]:
        """Map each key to its row; a key that appears twice is an InputError."""
        if self._index is None:
            self._index = {}
            for row, key in enumerate(self.texts("keys", 0, self.count)):
                if self._index.setdefault(key, row) != row:
                    raise InputError(f"{self.path}: key {key!r} appears twice")
        return self._index

    @property
    def identities(self) -> list[str]:
        """Return N identities, empty where unknown."""
        return self.texts("identities", 0, self.count)

    @property
    def mask_types(self) -> list[str]:
        """Return N mask kinds, empty where unknown."""
        return self.texts("mask_type", 0, self.count)

    @property
    def norms(self) -> NDArray[np.float32]:
        """Return (N,) float32 norms before normalisation; NaN where unknown."""
        return self._part("norms", 0, self.count)

    @property
    def masked(self) -> NDArray[np.int8]:
        """Return (N,) int8: -1 unknown, 0 no mask, 1 masked."""
        return self._part("masked", 0, self.count)

    @property
    def skipped(self) -> dict[str, str]:
        """Map the keys of the inputs that gave no embedding to the reason."""
        names = ("skipped_keys", "skipped_reasons")
        return dict(zip(*(self.texts(name, 0, self.skipped_count) for name in names), strict=True))

    @property
    def skipped_count(self) -> int:
        """Return how many inputs gave no embedding."""
        return self._data["skipped_keys"].size if "skipped_keys" in self._data else 0

    def rows(self, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the embeddings of (M,) rows, in any order, repeats allowed, (M, D) float32."""
        unique, inverse = np.unique(indices, return_inverse=True)
        vectors = self._data["embeddings"]
        if not len(unique):
            return np.empty((0, self.dim), np.float32)
        with reading(self.path):
            if unique[-1] - unique[0] < 4 * len(unique):  # dense: a slice beats HDF5's point lists
                block = vectors[unique[0] : unique[-1] + 1][unique - unique[0]]
            else:
                block = vectors[unique]
        return block[inverse].astype(np.float32, copy=False)

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the (M, D) float32 embeddings of consecutive rows, as far as there are any."""
        return self._part("embeddings", start, stop)

    def block(self, start: int, stop: int) -> Rows:
        """Return consecutive rows with all their fields, without skipped inputs."""
        names = (name for name in _FIELDS if not name.startswith("skipped_"))
        return replace(Rows.empty(), **{name: self._part(name, start, stop) for name in names})

    def blocks(self, rows: int = 8192) -> Iterator[Rows]:
        """Yield the whole file, some rows at a time, and at last what was skipped."""
        for start in range(0, self.count, rows):
            yield self.block(start, min(start + rows, self.count))
        names, end = (name for name in _FIELDS if name.startswith("skipped_")), self.skipped_count
        yield replace(Rows.empty(self.dim), **{name: self._part(name, 0, end) for name in names})

    def texts(self, field: str, start: int, stop: int) -> list[str]:
        """Return part of a text field; empty strings if the file lacks it."""
        if field not in self._data:
            return [""] * (stop - start)
        texts = read_texts(self._data[field], self.path, start, stop)
        if field == "keys" and "mfrkit" not in self.attributes:
            return list(map(key_of, texts))
        return list(map(composed, texts)) if field in _NAMES else texts

    def integers(self, name: str) -> NDArray[np.int64]:
        """Return a further dataset of whole numbers, (M,), which some files have."""
        found = find_dataset(self._file, self.path, name)
        if found is None or found.ndim != 1 or found.dtype.kind not in "iu":
            raise InputError(f"{self.path}: no row of whole numbers {name!r}")
        with reading(self.path):
            return found[:].astype(np.int64, copy=False)

    def each_key(self) -> Iterator[str]:
        """Yield all keys in row order."""
        for start in range(0, self.count, _KEYS):
            yield from self.texts("keys", start, min(start + _KEYS, self.count))

    def positions(self, field: str, start: int, stop: int) -> NDArray[np.int64]:
        """Return input positions of rows or, for `skipped_positions`, of skipped inputs."""
        return self._part(field, start, stop)

    def _part(self, field: str, start: int, stop: int) -> Any:
        """Return part of a field, or what stands for it where the file has none."""
        kind = _FIELDS[field]
        if kind is _TEXT:
            return self.texts(field, start, stop)
        if field not in self._data:
            if field.endswith("positions"):
                return np.arange(start, stop, dtype=kind)
            return np.full(stop - start, np.nan if field == "norms" else -1, kind)
        with reading(self.path):
            return self._data[field][start:stop].astype(kind, copy=False)

    def _find(self) -> dict[str, h5py.Dataset]:
        found = {n: find_dataset(self._file, self.path, _dataset_name(n)) for n in _FIELDS}
        for name in ("embeddings", "keys"):
            if found[name] is None:
                raise InputError(f"{self.path}: no dataset {name!r}; is it an embedding file?")
        return {name: dataset for name, dataset in found.items() if dataset is not None}

    def _check(self) -> None:
        vectors, keys = self._data["embeddings"], self._data["keys"]
        counts = {False: vectors.shape[:1], True: (self.skipped_count,)}
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or keys.shape != counts[False]:
            raise InputError(
                f"{self.path}: expected float embeddings (N, D) and N keys, got "
                f"{vectors.dtype} {vectors.shape} and {keys.shape}"
            )
        for name, dataset in self._data.items():
            wanted, what = (
                counts[name.startswith("skipped_")],
                f"{self.path}: {_dataset_name(name)}",
            )
            if name != "embeddings" and dataset.shape != wanted:
                raise InputError(f"{what} is {dataset.shape}, expected {wanted}")
            if not _holds(dataset, _FIELDS[name]):
                raise InputError(
                    f"{what} is of type {dataset.dtype}, which is none of an embedding file"
                )
        if ("skipped_keys" in self._data) != ("skipped_reasons" in self._data):
            raise InputError(f"{self.path}: skipped keys and their reasons do not go together")
        complete = self.attributes.get("complete", True)
        if not isinstance(complete, bool | int) or not complete:
            raise InputError(f"{self.path}: marked as unfinished; embed again with --resume")


def _holds(dataset: h5py.Dataset, wanted: Any) -> bool:
    """Whether a dataset's values can be those of a field: text for text, numbers for numbers."""
    if h5py.check_string_dtype(np.dtype(wanted)) is not None:
        return dataset.dtype.kind == "S" or h5py.check_string_dtype(dataset.dtype) is not None
    return dataset.dtype.kind in "fiub"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The N embeddings of a file.

    Attributes:
        vectors: (N, D) float32, of unit norm in files of `mfrkit embed`.
        keys: N names of pictures, as pair lists have them.
        identities: N names of people, empty where unknown.
        masked: (N,) int8: 1 wears a mask, 0 does not, -1 nobody looked.
        mask_types: N kinds of mask, empty where unknown.
        norms: (N,) float32, lengths before normalisation, NaN where unknown.
        skipped: pictures without an embedding -> why.
        attributes: what made the file: `model`, `weights_sha256`, `flip` and more.
    """

    vectors: NDArray[np.float32]
    keys: list[str]
    identities: list[str]
    masked: NDArray[np.int8]
    mask_types: list[str]
    norms: NDArray[np.float32]
    skipped: Mapping[str, str]
    attributes: Mapping[str, Any]


def read_embeddings(path: str | Path) -> Embeddings:
    """Read a whole embedding file into memory.

    Args:
        path: an HDF5 file that `mfrkit embed` wrote, or any with datasets `embeddings` and `keys`.

    Raises:
        InputError: missing, not such a file, or marked unfinished.
    """
    with EmbeddingReader(Path(path)) as reader:
        rows = reader.block(0, reader.count)
        return Embeddings(
            vectors=rows.embeddings,
            keys=rows.keys,
            identities=rows.identities,
            masked=rows.masked,
            mask_types=rows.mask_type,
            norms=rows.norms,
            skipped=reader.skipped,
            attributes=reader.attributes,
        )
