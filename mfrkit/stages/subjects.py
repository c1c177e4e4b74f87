"""Who is on the images of a pair list, for statistics that must know which pairs share a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.io.manifest import identity_of
from mfrkit.io.pairs import PairList
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
