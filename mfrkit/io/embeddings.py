"""Read embedding files: vectors by row, keys, and what made them.

The layout is described in `mfrkit.io.embedding_rows`; only `embeddings` and `keys` are required.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embedding_rows import FIELD_TYPES, Rows, dataset_name
from mfrkit.io.files import composed, key_of
from mfrkit.io.hdf5 import find_dataset, open_hdf5, read_attributes, read_texts, reading

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
    """Read an embedding file; use as a context manager.

    Any HDF5 file with datasets `embeddings` and `keys` will do; the others are optional. Keys of
    other programs may be names of files: they lose their suffix, as those of pair lists do.

    Attributes:
        path: the file.
        count: N.
        dim: D.
        attributes: root attributes.

    Raises:
        InputError: missing, not HDF5, without these datasets, or marked unfinished.
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
        """Map each key to its row.

        Raises:
            InputError: a key appears twice.
        """
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
        return self._numbers("norms", 0, self.count, default=np.nan)

    @property
    def masked(self) -> NDArray[np.int8]:
        """Return (N,) int8: -1 unknown, 0 no mask, 1 masked."""
        return self._numbers("masked", 0, self.count, default=-1)

    @property
    def skipped(self) -> dict[str, str]:
        """Map the keys of the inputs that gave no embedding to the reason."""
        end = self.skipped_count
        return dict(
            zip(
                self.texts("skipped_keys", 0, end),
                self.texts("skipped_reasons", 0, end),
                strict=True,
            )
        )

    @property
    def skipped_count(self) -> int:
        """Return how many inputs gave no embedding."""
        return self._data["skipped_keys"].size if "skipped_keys" in self._data else 0

    def rows(self, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the embeddings of some rows, in the order asked.

        Args:
            indices: (M,) row numbers, any order, repeats allowed.

        Returns:
            (M, D) float32.
        """
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
        return self._numbers("embeddings", start, stop, default=np.nan)

    def block(self, start: int, stop: int) -> Rows:
        """Return consecutive rows with all their fields, without skipped inputs."""
        return Rows(
            embeddings=self.vectors(start, stop),
            keys=self.texts("keys", start, stop),
            identities=self.texts("identities", start, stop),
            norms=self._numbers("norms", start, stop, default=np.nan),
            masked=self._numbers("masked", start, stop, default=-1),
            mask_type=self.texts("mask_type", start, stop),
            positions=self.positions("positions", start, stop),
            skipped_keys=[],
            skipped_reasons=[],
            skipped_positions=np.empty(0, np.int64),
        )

    def blocks(self, rows: int = 8192) -> Iterator[Rows]:
        """Yield the whole file, some rows at a time, and at last what was skipped."""
        for start in range(0, self.count, rows):
            yield self.block(start, min(start + rows, self.count))
        end = self.skipped_count
        yield replace(
            Rows.empty(self.dim),
            skipped_keys=self.texts("skipped_keys", 0, end),
            skipped_reasons=self.texts("skipped_reasons", 0, end),
            skipped_positions=self.positions("skipped_positions", 0, end),
        )

    def positions(self, field: str, start: int, stop: int) -> NDArray[np.int64]:
        """Return input positions of rows or, for `skipped_positions`, of skipped inputs."""
        if field in self._data:
            return self._numbers(field, start, stop, default=-1)
        return np.arange(start, stop, dtype=np.int64)

    def texts(self, field: str, start: int, stop: int) -> list[str]:
        """Return part of a text field; empty strings if the file lacks it."""
        if field not in self._data:
            return [""] * (stop - start)
        texts = read_texts(self._data[field], self.path, start, stop)
        if field == "keys" and "mfrkit" not in self.attributes:
            return list(map(key_of, texts))
        return list(map(composed, texts)) if field in _NAMES else texts

    def integers(self, name: str) -> NDArray[np.int64]:
        """Return a further dataset of whole numbers, (M,), which some files have beside the fields.

        Raises:
            InputError: there is none of this name and kind.
        """
        found = find_dataset(self._file, self.path, name)
        if found is None or found.ndim != 1 or found.dtype.kind not in "iu":
            raise InputError(f"{self.path}: no row of whole numbers {name!r}")
        with reading(self.path):
            return found[:].astype(np.int64, copy=False)

    def each_key(self, block: int = 65536) -> Iterator[str]:
        """Yield all keys in row order."""
        for start in range(0, self.count, block):
            yield from self.texts("keys", start, min(start + block, self.count))

    def _numbers(self, field: str, start: int, stop: int, default: float) -> NDArray[Any]:
        kind = FIELD_TYPES[field]
        if field not in self._data:
            return np.full(stop - start, default, kind)
        with reading(self.path):
            return self._data[field][start:stop].astype(kind, copy=False)

    def _find(self) -> dict[str, h5py.Dataset]:
        """Return the datasets there are, by field of `Rows`."""
        found = {n: find_dataset(self._file, self.path, dataset_name(n)) for n in FIELD_TYPES}
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
            wanted = counts[name.startswith("skipped_")]
            if name != "embeddings" and dataset.shape != wanted:
                raise InputError(
                    f"{self.path}: {dataset_name(name)} is {dataset.shape}, expected {wanted}"
                )
            if not _holds(dataset, FIELD_TYPES[name]):
                raise InputError(
                    f"{self.path}: {dataset_name(name)} is of type {dataset.dtype}, which is none "
                    "of an embedding file"
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
