"""Who and what is on each row of an embedding file: the person, and the photo."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.manifest import identity_of

_VARIANT = re.compile(r"\.mask\d+$")  # `synth-mask --variants` adds it to a picture's key
_BLOCK = 4096  # names held at a time where codes will do
_CODE_BYTES = 8


@dataclass(frozen=True)
class People:
    """The inputs of an embedding file, those without a vector behind the others."""

    keys: list[str]  # N + M keys
    identities: list[str]  # N + M names
    # N + M names of the photos, with the person's, since a photo is one only within a person;
    # masked variants of a photo share one
    photo_ids: list[str]
    enrolled: int  # N, the number of rows


def people_of(reader: EmbeddingReader) -> People:
    """Read who is in a file: its `identities`, or else the first folder of each key."""
    named = list(_known(reader))
    keys, identities, photo_ids = ([each[place] for each in named] for place in range(3))
    return People(keys, identities, photo_ids, reader.count)


def people_codes(reader: EmbeddingReader) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read person and photo of each input as numbers, so that memory holds no names.

    A number is 64 bits of the name's BLAKE2b hash: the same in every file. Of a million names two
    share one with a chance of 3 in 100 million. Inputs without a vector come behind the others.
    """
    codes = np.empty((2, reader.count + reader.skipped_count), np.int64)
    for place, (_, person, photo) in enumerate(_known(reader)):
        codes[:, place] = _code(person), _code(photo)
    return codes[0], codes[1]


def _code(name: str) -> int:
    digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=_CODE_BYTES).digest()
    return int.from_bytes(digest, "little", signed=True)


def _known(reader: EmbeddingReader) -> Iterator[tuple[str, str, str]]:
    """Yield key, person and photo of every input; complain at the end if somebody was nobody."""
    first_unknown, unknown, count = "", 0, 0
    for key, person, photo in _named(reader):
        count += 1
        if not person:
            first_unknown, unknown = first_unknown or key, unknown + 1
        yield key, person, photo
    if unknown:
        raise InputError(
            f"{reader.path}: no identity for {unknown} of {count} pictures, such as "
            f"{first_unknown!r}; put each person's photos into a folder of their own and embed "
            "again"
        )


def _named(reader: EmbeddingReader) -> Iterator[tuple[str, str, str]]:
    for field, count in (("keys", reader.count), ("skipped_keys", reader.skipped_count)):
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            keys = reader.texts(field, start, stop)
            known = reader.texts("identities", start, stop) if field == "keys" else [""] * len(keys)
            for key, name in zip(keys, known, strict=True):
                person = name or identity_of(key) or ""
                yield key, person, f"{person}\0{photo_name(key)}"


def photo_name(key: str) -> str:
    """Return the key of the photo that a key, perhaps of a masked variant, belongs to."""
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
