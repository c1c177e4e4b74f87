"""Systems of which only the scores are known: match a score file with the pair list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.pairs import PairList, read_pairs
from mfrkit.io.score_files import ScoreFile, read_scores
from mfrkit.stages.scoring import Absence, ScoredPairs
from mfrkit.stages.systems import Files

_NAMED = 3  # pairs without score named in a message


@dataclass(frozen=True)
class UnscoredPairs(Absence):
    """The pairs of a list that a score file says nothing of; `images` stays empty.

    Attributes:
        pairs: all of them, as `a b`, in list order.
    """

    pairs: Sequence[str] = ()

    def __str__(self) -> str:
        """Say it in one line, the first few pairs by name."""
        more = ", ..." if len(self.pairs) > _NAMED else ""
        return (
            f"{self.path}: no score for {len(self.pairs)} of the {self.wanted} pairs in the list: "
            f"{', '.join(self.pairs[:_NAMED])}{more}"
        )


def pairs_to_evaluate(pairs: Path | None, scores_in: Sequence[Path]) -> PairList:
    """Read the pair list, or take the pairs of the first score file where no list is named.

    Raises:
        InputError: the file is unusable.
    """
    if pairs is not None:
        return read_pairs(pairs)
    return read_scores(scores_in[0]).pairs


def given_systems(
    pairs: PairList, scores_in: Sequence[Path], console: Console
) -> Iterator[tuple[Files, ScoredPairs]]:
    """Yield every system of every score file with its scores of the pairs.

    Convention:
        A pair that is not in the file, or has no score there, is treated like a pair whose images
        have no embedding; -inf is a failed comparison and counts as such.

    Raises:
        InputError: unusable files, none of the pairs, a pair scored twice with different results,
            or one that the file calls the same person and the list two people.
    """
    for path in scores_in:
        file = read_scores(path)
        places = _match(pairs, file)
        for name, given in zip(file.systems, file.scores, strict=True):
            scores = np.where(places >= 0, given[places], np.nan)
            _suspect_distances(path, scores, pairs, console)
            attributes: dict[str, Any] = {"model": name} if name else {}
            yield (path, None, attributes), _account(pairs, path, scores)


def _match(pairs: PairList, file: ScoreFile) -> NDArray[np.int64]:
    """Return (P,) where each pair of the list is in the file, -1 where it is not."""
    theirs = file.pairs
    if theirs.a == pairs.a and theirs.b == pairs.b:
        places = np.arange(len(pairs))
    else:
        index = _index(file)
        places = np.array(
            [
                index.get((a, b), index.get((b, a), -1))
                for a, b in zip(pairs.a, pairs.b, strict=True)
            ]
        )
    found = np.flatnonzero(places >= 0)
    if not found.size:
        raise InputError(
            f"{theirs.path}: has none of the pairs of {pairs.path}; "
            f"it says for example {theirs.a[0]!r}, the list {pairs.a[0]!r}"
        )
    wrong = found[theirs.same[places[found]] != pairs.same[found]]
    if wrong.size:
        theirs_line, line = theirs.line[places[wrong[0]]], pairs.line[wrong[0]]
        raise InputError(
            f"{theirs.path}, line {theirs_line}: contradicts {pairs.path}, line {line}, "
            "on whether the two are one person"
        )
    return places


def _index(file: ScoreFile) -> dict[tuple[str, str], int]:
    pairs = file.pairs
    index: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(zip(pairs.a, pairs.b, strict=True)):
        first = index.setdefault(pair, place)
        if not np.array_equal(file.scores[:, first], file.scores[:, place], equal_nan=True):
            raise InputError(
                f"{pairs.path}, line {pairs.line[place]}: scores the pair of line "
                f"{pairs.line[first]} again, and differently"
            )
    return index


def _account(pairs: PairList, path: Path, scores: NDArray[np.float64]) -> ScoredPairs:
    missing = np.flatnonzero(np.isnan(scores))
    named = [f"{pairs.a[place]} {pairs.b[place]}" for place in missing.tolist()]
    absences = (UnscoredPairs(path, {}, len(pairs), named),) if named else ()
    return ScoredPairs(np.where(np.isnan(scores), -np.inf, scores), absences)


def _suspect_distances(
    path: Path, scores: NDArray[np.float64], pairs: PairList, console: Console
) -> None:
    genuine, impostor = (
        scores[(pairs.same == kind) & np.isfinite(scores)] for kind in (True, False)
    )
    if genuine.size and impostor.size and genuine.mean() < impostor.mean():
        console.warn(
            f"{path}: pairs of one person score lower than pairs of two; are these distances? "
            "Scores must be larger for more alike: change the sign of distances"
        )
