"""Sort the pairs of a list into groups by what is known of their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.covariates import Covariates
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.pairs import PairList

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
