"""Read embedding files: vectors by row, keys, and what made them.

The layout is described in `mfrkit.io.embedding_rows`; only `embeddings` and `keys` are required.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embedding_rows import FIELD_TYPES, Rows, dataset_name
from mfrkit.io.names import composed

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

    Any HDF5 file with datasets `embeddings` and `keys` will do; the others are optional.

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
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise InputError(f"{path}: not a readable HDF5 file") from error
        try:
            self._check()
        except InputError:
            self._file.close()
            raise
        vectors = self._file["embeddings"]
        self.count: int = vectors.shape[0]
        self.dim: int = vectors.shape[1]
        self.attributes: dict[str, Any] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self._file.attrs.items()
        }
        self._index: dict[str, int] | None = None

    def __enter__(self) -> "EmbeddingReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        return len(self._file["skipped/keys"]) if "skipped/keys" in self._file else 0

    def rows(self, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the embeddings of some rows, in the order asked.

        Args:
            indices: (M,) row numbers, any order, repeats allowed.

        Returns:
            (M, D) float32.
        """
        unique, inverse = np.unique(indices, return_inverse=True)
        vectors = self._file["embeddings"]
        if not len(unique):
            return np.empty((0, self.dim), np.float32)
        if unique[-1] - unique[0] < 4 * len(unique):  # dense: one slice beats HDF5's point lists
            block = vectors[unique[0] : unique[-1] + 1][unique - unique[0]]
        else:
            block = vectors[unique]
        return block[inverse].astype(np.float32, copy=False)

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the (M, D) float32 embeddings of consecutive rows, as far as there are any."""
        return self._file["embeddings"][start:stop].astype(np.float32, copy=False)

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
        if dataset_name(field) in self._file:
            return self._file[dataset_name(field)][start:stop]
        return np.arange(start, stop, dtype=np.int64)

    def texts(self, field: str, start: int, stop: int) -> list[str]:
        """Return part of a text field; empty strings if the file lacks it."""
        name = dataset_name(field)
        if name not in self._file:
            return [""] * (stop - start)
        values = [_decode(value) for value in self._file[name][start:stop]]
        return list(map(composed, values)) if field in _NAMES else values

    def each_key(self, block: int = 65536) -> Iterator[str]:
        """Yield all keys in row order."""
        for start in range(0, self.count, block):
            yield from self.texts("keys", start, min(start + block, self.count))

    def _numbers(self, field: str, start: int, stop: int, default: float) -> NDArray[Any]:
        kind = FIELD_TYPES[field]
        if field not in self._file:
            return np.full(stop - start, default, kind)
        return self._file[field][start:stop].astype(kind, copy=False)

    def _check(self) -> None:
        for name in ("embeddings", "keys"):
            if not isinstance(self._file.get(name), h5py.Dataset):
                raise InputError(f"{self.path}: no dataset {name!r}; is it an embedding file?")
        vectors, keys = self._file["embeddings"], self._file["keys"]
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(keys) != len(vectors):
            raise InputError(
                f"{self.path}: expected float embeddings (N, D) and N keys, got "
                f"{vectors.dtype} {vectors.shape} and {keys.shape}"
            )
        if not self._file.attrs.get("complete", True):
            raise InputError(f"{self.path}: marked as unfinished; embed again with --resume")


def _decode(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
