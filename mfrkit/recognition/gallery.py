"""Known people, one template each, and the search among them.

They come from embedding files or photos in memory. The most similar of many vectors are found
exactly, block by block, or through a faiss index.

Convention:
    A person's template is the mean of the person's unit vectors. It counts as masked when all of
    its photos are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import replacing
from mfrkit.io.manifest import identity_of
from mfrkit.io.people import numbered
from mfrkit.metrics.all_pairs import unit_rows

_ROWS = 32768  # vectors multiplied at a time: they and their scores stay near the cache
_PROBED = 64  # cells of the index that are looked into
_TRAINED_ON = 64  # vectors a cell from which the cells are made
_PROOF = 16  # vectors by which an index shows that it is of these


class Nearest(NamedTuple):
    """The best of each probe, best first.

    Attributes:
        scores: (B, M) float32 similarities; -inf where there are fewer than M.
        places: (B, M) int64, whose they are; -1 where there are fewer.
    """

    scores: NDArray[np.float32]
    places: NDArray[np.int64]


class NearestFinder(Protocol):
    """Looks up the vectors most similar to others."""

    def __call__(self, probes: NDArray[np.float32], count: int) -> Nearest:
        """Return the `count` best for each of (B, D) unit vectors."""


class Exact:
    """Compares with everything; memory beside the vectors does not grow with their number.

    Args:
        vectors: (K, D) float32 of unit norm.

    Example:
        >>> found = Exact(np.eye(3, dtype=np.float32))(np.eye(3, dtype=np.float32)[1:2], 2)
        >>> found.scores.tolist(), int(found.places[0, 0])
        ([[1.0, 0.0]], 1)
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def __call__(self, probes: NDArray[np.float32], count: int) -> Nearest:
        """Return the best of all vectors; of equal ones the first."""
        best = np.full((len(probes), count), -np.inf, np.float32)
        places = np.full((len(probes), count), -1, np.int64)
        row = np.arange(len(probes))
        for start in range(0, len(self._vectors), _ROWS):
            scores = probes @ self._vectors[start : start + _ROWS].T
            here, there = np.full_like(best, -np.inf), np.full_like(places, -1)
            for rank in range(min(count, scores.shape[1])):
                top = scores.argmax(axis=1)
                here[:, rank], there[:, rank] = scores[row, top], top + start
                scores[row, top] = -np.inf
            both = np.concatenate([best, here], axis=1)
            order = np.argsort(-both, axis=1, kind="stable")[:, :count]
            best = np.take_along_axis(both, order, axis=1)
            places = np.take_along_axis(np.concatenate([places, there], axis=1), order, axis=1)
        return Nearest(best, places)


class Approximate:
    """Looks into the likeliest cells only (an inverted file of faiss); may miss the best.

    Args:
        vectors: (K, D) float32 of unit norm.
        path: file the index is kept in; one of other vectors is made anew.

    Raises:
        InputError: faiss is not installed.
    """

    def __init__(self, vectors: NDArray[np.float32], path: Path) -> None:
        try:
            import faiss
        except ImportError as error:
            raise InputError(
                "--approximate needs faiss: pip install 'mfrkit[index]'; without it the search "
                "is exact"
            ) from error
        self._index = _read(faiss, path, vectors) or _build(faiss, path, vectors)
        faiss.ParameterSpace().set_index_parameter(self._index, "nprobe", _PROBED)

    def __call__(self, probes: NDArray[np.float32], count: int) -> Nearest:
        """Return the best of the vectors in the cells nearest to each probe."""
        scores, places = self._index.search(np.ascontiguousarray(probes), count)
        scores[places < 0] = -np.inf
        return Nearest(scores, places)


def _read(faiss: Any, path: Path, vectors: NDArray[np.float32]) -> Any:
    """Return the index in a file if it is of these vectors, else None."""
    if not path.is_file():
        return None
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError):  # not an index, or half of one
        return None
    if not isinstance(index, faiss.IndexIVF) or (index.ntotal, index.d) != vectors.shape:
        return None
    places = np.linspace(0, len(vectors) - 1, _PROOF).astype(np.int64)
    scores, _ = index.search(vectors[places], 1)  # a vector lies in the cell it is nearest to
    return index if (scores > 0.9999).all() else None


def _build(faiss: Any, path: Path, vectors: NDArray[np.float32]) -> Any:
    count, dim = vectors.shape
    cells = max(1, min(round(4 * count**0.5), count // _TRAINED_ON))
    index = faiss.index_factory(dim, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    step = max(1, count // (cells * _TRAINED_ON))
    index.train(np.ascontiguousarray(vectors[::step]))
    for start in range(0, count, _ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + _ROWS]))
    with replacing(path) as temporary:
        faiss.write_index(index, str(temporary))
    return index


NO_DIRECTION = "embedding without direction"


@dataclass(frozen=True, eq=False)
class Gallery:
    """K people.

    Attributes:
        names: who they are.
        templates: (K, D) float32 of unit norm.
        masked: (K,) int8: 1 if all photos show a mask, 0 if one does not, -1 unknown.
        photos: key of the first photo of each.
        skipped: photos that give nothing -> why.
        finder: looks up templates.
    """

    names: Sequence[str]
    templates: NDArray[np.float32]
    masked: NDArray[np.int8]
    photos: Sequence[str]
    skipped: Mapping[str, str]
    finder: NearestFinder

    def __len__(self) -> int:
        return len(self.names)


def pooled(
    keys: Sequence[str],
    people: Sequence[str],
    vectors: NDArray[np.float32],
    masked: NDArray[np.int8],
    skipped: Mapping[str, str],
) -> Gallery:
    """Make one template of each person's photos.

    Args:
        keys: N names of photos.
        people: N names of people.
        vectors: (N, D) float; those without direction count as skipped. They may be overwritten.
        masked: (N,) int8: -1 unknown, 0, 1.
        skipped: photos that give nothing -> why.

    Raises:
        InputError: nobody is left.
    """
    unit, usable = unit_rows(vectors)
    lost = {keys[row]: NO_DIRECTION for row in np.flatnonzero(~usable).tolist()}
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise InputError("nobody to search among: no photo of the gallery shows a usable face")
    (person,) = numbered([people[row] for row in rows.tolist()])
    order = rows[np.argsort(person, kind="stable")]
    starts = np.flatnonzero(np.diff(np.sort(person), prepend=-1))
    if len(starts) == len(rows):
        templates = unit if len(rows) == len(unit) else unit[rows]
    else:
        templates, _ = unit_rows(np.add.reduceat(unit[order], starts, axis=0))
    # One bare photo decides; without any, one that nobody looked at leaves it open.
    bare = np.logical_or.reduceat(masked[order] == 0, starts)
    doubt = np.logical_or.reduceat(masked[order] < 0, starts)
    first = order[starts].tolist()
    return Gallery(
        names=[people[row] for row in first],
        templates=templates,
        masked=np.where(bare, 0, np.where(doubt, -1, 1)).astype(np.int8),
        photos=[keys[row] for row in first],
        skipped={**skipped, **lost},
        finder=Exact(templates),
    )


def gallery_in(path: Path) -> Gallery:
    """Read a gallery from an embedding file.

    Raises:
        InputError: not such a file, or nobody in it.
    """
    with EmbeddingReader(path) as reader:
        keys = reader.texts("keys", 0, reader.count)
        people = [name or person_of(key) for key, name in zip(keys, reader.identities, strict=True)]
        vectors = reader.vectors(0, reader.count)
        try:
            return pooled(keys, people, vectors, reader.masked, reader.skipped)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def person_of(key: str) -> str:
    """Name the person of a photo: the first folder, or in a flat gallery the file.

    Example:
        >>> person_of("ada/portrait"), person_of("ada")
        ('ada', 'ada')
    """
    return identity_of(key) or key
