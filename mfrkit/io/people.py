"""Who and what is on each row of an embedding file: the person, and the photo."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

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


class _Named(NamedTuple):
    """One input: its key, its person (empty if unknown) and its photo."""

    key: str
    person: str
    photo: str


def people_of(reader: EmbeddingReader) -> People:
    """Read who is in a file: its `identities`, or else the first folder of each key.

    Raises:
        InputError: a picture of nobody.
    """
    named = list(_known(reader))
    return People(
        keys=[each.key for each in named],
        identities=[each.person for each in named],
        photo_ids=[each.photo for each in named],
        enrolled=reader.count,
    )


def people_codes(reader: EmbeddingReader) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read who and what is in a file as numbers, so that memory holds no names.

    Convention:
        A number is 64 bits of the name's BLAKE2b hash: the same in every file. Of a million names
        two share one with a chance of 3 in 100 million.

    Returns:
        Person and photo of each input, (N + M,) each, those without a vector behind the others.

    Raises:
        InputError: a picture of nobody.
    """
    codes = np.empty((2, reader.count + reader.skipped_count), np.int64)
    for place, each in enumerate(_known(reader)):
        codes[:, place] = _code(each.person), _code(each.photo)
    return codes[0], codes[1]


def _code(name: str) -> int:
    digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=_CODE_BYTES).digest()
    return int.from_bytes(digest, "little", signed=True)


def _known(reader: EmbeddingReader) -> Iterator[_Named]:
    """Yield every input of a file.

    Raises:
        InputError: at the end, if somebody was nobody.
    """
    first_unknown, unknown, count = "", 0, 0
    for each in _named(reader):
        count += 1
        if not each.person:
            first_unknown, unknown = first_unknown or each.key, unknown + 1
        yield each
    if unknown:
        raise InputError(
            f"{reader.path}: no identity for {unknown} of {count} pictures, such as "
            f"{first_unknown!r}; put each person's photos into a folder of their own and embed "
            "again"
        )


def _named(reader: EmbeddingReader) -> Iterator[_Named]:
    for start in range(0, reader.count, _BLOCK):
        stop = min(start + _BLOCK, reader.count)
        keys = reader.texts("keys", start, stop)
        yield from _name(keys, reader.texts("identities", start, stop))
    for start in range(0, reader.skipped_count, _BLOCK):
        keys = reader.texts("skipped_keys", start, min(start + _BLOCK, reader.skipped_count))
        yield from _name(keys, [""] * len(keys))


def _name(keys: Iterable[str], stored: Iterable[str]) -> Iterator[_Named]:
    for key, name in zip(keys, stored, strict=True):
        person = name or identity_of(key) or ""
        yield _Named(key, person, f"{person}\0{photo_name(key)}")


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
