"""Known people, one template each, and where they come from: embedding files or photos in memory.

Convention:
    A person's template is the mean of the person's unit vectors. It counts as masked when all of
    its photos are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.manifest import identity_of
from mfrkit.metrics.blocks import unit_rows
from mfrkit.recognition.nearest import Exact, Finder
from mfrkit.stages.people import numbered

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
    finder: Finder

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
