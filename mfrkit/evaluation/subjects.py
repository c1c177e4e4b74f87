"""Who is on the images of a pair list, and into which groups its pairs fall.

Statistics must know which pairs share a person, for such pairs err together; error rates of
groups tell for whom a system works.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.manifest import identity_of
from mfrkit.io.pairs import PairList
from mfrkit.io.tables import Covariates
from mfrkit.metrics.bootstrap import PairSubjects

_DISAGREEING = 0.01  # share of pairs whose label may contradict the names: lists have errors


@dataclass(frozen=True, eq=False)
class Confidence:
    """How intervals are made: whom the draws are from, and how sure to be.

    Attributes:
        level: confidence in (0, 1).
        seed: of the draws.
        people: who is on the images of the P pairs.
        told_by: how they were told apart: `names`, or `genuine pairs` that join images.
    """

    level: float
    seed: int
    people: PairSubjects
    told_by: str

    def people_of(self, chosen: NDArray[np.bool_]) -> PairSubjects:
        """Return who is on some of the pairs; the draws stay those for all of them."""
        people = self.people
        return PairSubjects(people.first[chosen], people.second[chosen], people.count)


def find_people(pairs: PairList, identities: Mapping[str, str]) -> tuple[PairSubjects, str]:
    """Tell the people of a pair list apart.

    Convention:
        By the identity stored with each image, else by the first folder of its key, which names
        the person. If an image has neither, or if more than 1 % of the pairs are labelled
        otherwise (the folders mean something else), images are one person's when genuine pairs
        join them.

    Args:
        pairs: the list.
        identities: image key -> person; images may lack one.

    Returns:
        Who is on which image, and how they were told apart, as in `Confidence`.
    """
    keys = pairs.a + pairs.b
    names = [identities.get(key) or identity_of(key) or "" for key in keys]
    people = _number(names, len(pairs))
    contradicted = (people.first == people.second) != pairs.same
    if all(names) and contradicted.mean() <= _DISAGREEING:
        return people, "names"
    return _number(_joined(pairs), len(pairs)), "genuine pairs"


def _number(names: Sequence[str], count: int) -> PairSubjects:
    different, numbers = np.unique(np.array(names), return_inverse=True)
    numbers = numbers.astype(np.int64, copy=False)
    return PairSubjects(numbers[:count], numbers[count:], different.size)


def _joined(pairs: PairList) -> list[str]:
    """Return for each image, first ones before second ones, one image of the same person."""
    parent = {key: key for key in pairs.a + pairs.b}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    for place in np.flatnonzero(pairs.same).tolist():
        parent[root(pairs.a[place])] = root(pairs.b[place])
    return [root(key) for key in pairs.a + pairs.b]


UNKNOWN = "unknown"
_MASKED = MappingProxyType({0: "unmasked", 1: "masked"})
_MOST = 250  # groups worth a line each


@dataclass(frozen=True, eq=False)
class PairGroups:
    """One way to sort pairs.

    Attributes:
        by: the trait.
        names: G names of the groups, sorted.
        group: (P,) int64, the group of each pair.
    """

    by: str
    names: tuple[str, ...]
    group: NDArray[np.int64]


def group_pairs(
    pairs: PairList,
    by: str,
    table: Covariates | None,
    first: EmbeddingReader,
    second: EmbeddingReader,
) -> PairGroups:
    """Sort pairs by a trait of their two images.

    Convention:
        A group is the value both images have, or that one has if the other's is unknown, or two
        different values in alphabetical order: `cloth`, `cloth + n95`. Unknown counts as a value
        of `masked` alone.

    Args:
        pairs: the list.
        by: a column of the table, or `masked` or `mask` as the embedding files know them.
        table: traits of images; those of a manifest are the second images' alone if these come
            from a file of their own.
        first: file of the first images.
        second: file of the second images, or `first`.

    Raises:
        InputError: no such trait, or too many different values.
    """
    if table is not None and by in table.columns:
        split = table.is_manifest and second is not first
        a = [""] * len(pairs) if split else _look_up(table, by, pairs.a)
        b = _look_up(table, by, pairs.b)
    elif by in ("masked", "mask"):
        a, b = _stored(first, by, pairs.a), _stored(second, by, pairs.b)
    else:
        raise InputError(f"--by {by}: {_where_to_find(by, table)}")
    labels = [_join(*traits) for traits in zip(a, b, strict=True)]
    names, group = np.unique(np.array(labels), return_inverse=True)
    if names.size > _MOST:
        raise InputError(
            f"--by {by}: {names.size} different groups; put values together first, for example "
            "ages by decade"
        )
    return PairGroups(by, tuple(names.tolist()), group.astype(np.int64, copy=False))


def _look_up(table: Covariates, by: str, keys: Sequence[str]) -> list[str]:
    return [table.rows.get(key, {}).get(by, "") for key in keys]


def _stored(reader: EmbeddingReader, by: str, keys: Sequence[str]) -> list[str]:
    """Return what the embedding file says of each image."""
    masked = reader.masked.tolist()
    if by == "masked":
        missing, known = UNKNOWN, [_MASKED.get(flag, UNKNOWN) for flag in masked]
    else:
        kinds = zip(reader.mask_types, masked, strict=True)
        missing, known = "", [kind or ("no mask" if flag == 0 else "") for kind, flag in kinds]
    rows = reader.index
    return [known[rows[key]] if key in rows else missing for key in keys]


def _join(a: str, b: str) -> str:
    return " + ".join(sorted({a, b} - {""})) or UNKNOWN


def _where_to_find(by: str, table: Covariates | None) -> str:
    if table is not None:
        columns = ", ".join(table.columns) or "none"
        return f"no such column in {table.path} (there are: {columns}), nor is it masked or mask"
    if by == "coverage":
        return "name the manifest that has it, --covariates masked/manifest.jsonl"
    return "expected masked or mask, or a column of a table given with --covariates"
