"""Pair lists: which images to compare, whether they show one person, and in which fold.

The format is recognised from the content (`mfrkit.io.pair_formats` describes each), so that the
lists of LFW, MFR2, RFW, CALFW, CPLFW and MLFW, path lists and CSV files are read as published.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.io.pair_formats import parse
from mfrkit.io.pair_lines import Pair, Parsed, read_text

FOLDS = 10  # of a list that defines none, as in every LFW-style benchmark


@dataclass(frozen=True, eq=False)
class PairList:
    """The P pairs of a list, in file order.

    Attributes:
        path: the file.
        format: `lfw`, `mfr2`, `paths`, `two-line` or `csv`.
        a: key of each first image: relative path without image suffix.
        b: key of each second image.
        same: (P,) bool, whether the two show one person.
        fold: (P,) int64, the fold of each pair.
        line: (P,) int64, line of the file, from 1, for messages.
    """

    path: Path
    format: str
    a: list[str]
    b: list[str]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    line: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.a)

    def keys(self) -> frozenset[str]:
        """Return the keys of all images the list names."""
        return frozenset(self.a + self.b)

    def images(self) -> str:
        """Say which images the list names, by content: lists of the same images say the same."""
        keys = sorted(self.keys())
        digest = hashlib.sha256("\n".join(keys).encode("utf-8", "surrogatepass")).hexdigest()
        return f"{len(keys)} images, sha256 {digest[:16]}"


def read_pairs(path: Path) -> PairList:
    """Read a pair list of any supported format.

    Convention:
        The folds are those the list defines: blocks of an LFW list with two header numbers, or a
        `fold` column. Lists sorted by class (CALFW, CPLFW, LFW's development lists) are dealt out
        so that each of ten folds gets its share of both classes. All others are cut into ten
        contiguous parts, the earlier ones larger by one where the number does not divide.

    Args:
        path: UTF-8 text, with or without byte-order mark, any line ending, blank lines ignored.

    Raises:
        InputError: unreadable, not UTF-8, empty, of no known format, a malformed line (which one
            is said), or fewer or more pairs than the header promises.
    """
    return pair_list(path, parse(read_text(path, "pair list"), str(path)))


def pair_list(path: Path, parsed: Parsed) -> PairList:
    """Arrange parsed pairs; see `read_pairs` for the folds."""
    pairs = parsed.pairs
    same = np.array([pair.same for pair in pairs], dtype=bool)
    return PairList(
        path=path,
        format=parsed.format,
        a=[pair.a for pair in pairs],
        b=[pair.b for pair in pairs],
        same=same,
        fold=_folds(parsed, pairs, same),
        line=np.array([pair.line for pair in pairs], dtype=np.int64),
    )


def _folds(parsed: Parsed, pairs: list[Pair], same: NDArray[np.bool_]) -> NDArray[np.int64]:
    if parsed.folds == "given":
        return np.array([pair.fold for pair in pairs], dtype=np.int64)
    if parsed.folds == "contiguous":
        return contiguous_folds(len(pairs), FOLDS)
    fold = np.empty(len(pairs), dtype=np.int64)
    for kind in (True, False):
        chosen = same == kind
        fold[chosen] = contiguous_folds(int(chosen.sum()), FOLDS)
    return fold


def contiguous_folds(count: int, folds: int) -> NDArray[np.int64]:
    """Cut a row of items into contiguous parts as equal as possible, larger ones first.

    Args:
        count: number of items.
        folds: number of parts; never more than there are items.

    Returns:
        (count,) int64, the part of each item, from 0.

    Example:
        >>> contiguous_folds(7, 3).tolist()
        [0, 0, 0, 1, 1, 2, 2]
    """
    folds = min(folds, count)
    if folds == 0:
        return np.zeros(0, dtype=np.int64)
    size, larger = divmod(count, folds)
    return np.repeat(np.arange(folds), np.where(np.arange(folds) < larger, size + 1, size))
