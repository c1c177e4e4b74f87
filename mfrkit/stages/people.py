"""Who and what is on each row of an embedding file: the person, and the photo."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.manifest import identity_of

_VARIANT = re.compile(r"\.mask\d+$")  # `synth-mask --variants` adds it to a picture's key


@dataclass(frozen=True)
class People:
    """The inputs of an embedding file, those without a vector behind the others.

    Attributes:
        keys: N + M keys.
        identities: N + M names.
        photos: N + M names of the photos; masked variants of a photo share one.
        enrolled: N, the number of rows.
    """

    keys: list[str]
    identities: list[str]
    photos: list[str]
    enrolled: int


def people_of(reader: EmbeddingReader) -> People:
    """Read who is in a file: its `identities`, or else the first folder of each key.

    Raises:
        InputError: a picture of nobody.
    """
    skipped = reader.texts("skipped_keys", 0, reader.skipped_count)
    keys = [*reader.texts("keys", 0, reader.count), *skipped]
    stored = [*reader.identities, *[""] * len(skipped)]
    names = [name or identity_of(key) or "" for name, key in zip(stored, keys, strict=True)]
    nobody = [key for key, name in zip(keys, names, strict=True) if not name]
    if nobody:
        raise InputError(
            f"{reader.path}: no identity for {len(nobody)} of {len(keys)} pictures, such as "
            f"{nobody[0]!r}; put each person's photos into a folder of their own and embed again"
        )
    return People(keys, names, [photo_name(key) for key in keys], reader.count)


def photo_name(key: str) -> str:
    """Return the key of the photo that a key, perhaps of a masked variant, belongs to.

    Example:
        >>> photo_name("Ada/Ada_0001.mask2"), photo_name("Ada/Ada_0001")
        ('Ada/Ada_0001', 'Ada/Ada_0001')
    """
    return _VARIANT.sub("", key)


def numbered(*lists: list[str]) -> list[NDArray[np.int64]]:
    """Replace names by numbers, the same for the same name in all lists.

    Example:
        >>> [codes.tolist() for codes in numbered(["a", "b"], ["b", "c"])]
        [[0, 1], [1, 2]]
    """
    numbers: dict[str, int] = {}
    return [
        np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
        for names in lists
    ]


def unit_rows(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Bring vectors to length one and tell which have a direction.

    Args:
        vectors: (N, D) float.

    Returns:
        (N, D) float32, zeros where there is no direction, and (N,) bool.

    Example:
        >>> unit, usable = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]]))
        >>> unit[0].round(3).tolist(), usable.tolist()
        ([0.6, 0.8], [True, False, False])
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    usable = np.isfinite(lengths) & (lengths > 0)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=usable)
    unit = vectors.astype(np.float32, copy=False) * scale[:, None].astype(np.float32)
    unit[~usable] = 0
    return unit, usable
