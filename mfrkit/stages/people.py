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
        photo_ids: N + M names of the photos, with the person's, since a photo is one only within
            a person; masked variants of a photo share one.
        enrolled: N, the number of rows.
    """

    keys: list[str]
    identities: list[str]
    photo_ids: list[str]
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
    photos = [f"{name}\0{photo_name(key)}" for key, name in zip(keys, names, strict=True)]
    return People(keys, names, photos, reader.count)


def photo_name(key: str) -> str:
    """Return the key of the photo that a key, perhaps of a masked variant, belongs to.

    Example:
        >>> photo_name("Ada/Ada_0001.mask2"), photo_name("Ada/Ada_0001")
        ('Ada/Ada_0001', 'Ada/Ada_0001')
    """
    return _VARIANT.sub("", key) if ".mask" in key else key


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
