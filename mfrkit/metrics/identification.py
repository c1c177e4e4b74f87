"""Identification: is a face found among known people, and are strangers turned away?

Convention (the whole module):
    A person's score is the cosine similarity to that person's template, or, without pooling, the
    best over the person's photos. A probe's own photo, should the gallery hold it, is left out of
    the search as if it had never been enrolled.

    ISO/IEC 19795-1 names. A search is mated when the probe's person is enrolled. A candidate is
    returned when its score is at least the threshold. A search that could not be made (no vector)
    counts: a mated one as a miss at every rank, a non-mated one as a correct rejection.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
from mfrkit.metrics.all_pairs import FaceBlock, Indices, equal_pairs, unit_rows
from mfrkit.metrics.rates import Floats, operating_point, roc, share


class ScoredGallery:
    """Known people, each with one template or several photos; `persons` are (K,) int64, rising.

    Args:
        faces: all photos, at least one, in any order.
        weights: (R,) float32 weight of each photo in its person's template: ones for the mean of
            unit vectors, the norms before normalisation for a mean by quality; None to keep the
            photos apart.
    """

    def __init__(self, faces: FaceBlock, weights: NDArray[np.float32] | None) -> None:
        order = np.argsort(faces.person, kind="stable")
        self.persons, self._starts, self._sizes = np.unique(
            faces.person[order], return_index=True, return_counts=True
        )
        self._photo = faces.photo[order]
        self._column = np.repeat(np.arange(len(self.persons)), self._sizes)
        self._terms = faces.vectors[order]
        self._pooled = weights is not None
        if weights is not None:
            self._terms = self._terms * weights[order, None]
            self._sums = np.add.reduceat(self._terms, self._starts, axis=0)
            self._templates, _ = unit_rows(self._sums)

    @property
    def rows(self) -> int:
        """How many vectors a probe is compared with."""
        return len(self.persons) if self._pooled else len(self._terms)

    def scores(self, probes: FaceBlock) -> NDArray[np.float32]:
        """Compare B probes, with person and photo codes of the gallery's numbering, with everybody.

        Returns:
            (B, K) float32, one column for each of `persons`; -inf where nothing but the probe's
            own photo is enrolled.
        """
        probe, own = equal_pairs(probes.photo, self._photo)
        if self._pooled:
            scores = probes.vectors @ self._templates.T
            if len(probe):
                self._without_own(scores, probes, probe, own)
            return scores
        products = probes.vectors @ self._terms.T
        products[probe, own] = -np.inf
        return np.maximum.reduceat(products, self._starts, axis=1)

    def _without_own(
        self, scores: NDArray[np.float32], probes: FaceBlock, probe: Indices, own: Indices
    ) -> None:
        """Score the probes' own people again, by templates without the probes' own photos."""
        rows, first, place = np.unique(probe, return_index=True, return_inverse=True)
        columns = self._column[own[first]]  # a photo belongs to one person
        sums = self._sums[columns]
        np.subtract.at(sums, place, self._terms[own])
        templates, _ = unit_rows(sums)
        left = self._sizes[columns] - np.bincount(place)
        again = np.einsum("ij,ij->i", probes.vectors[rows], templates)
        scores[rows, columns] = np.where(left > 0, again, -np.inf)


NEVER = np.iinfo(np.int64).max  # the rank of a person who was not found


@dataclass(frozen=True, eq=False)
class Searches:
    """What came of each probe.

    Attributes:
        mated: (P,) bool, whether the probe's person is enrolled.
        mate: (P,) float64, score of that person; -inf if not enrolled or not compared.
        rank: (P,) int64, place of that person among all, from 1; NEVER likewise.
        best: (P,) float64, highest score of anybody; -inf if not compared.
    """

    mated: NDArray[np.bool_]
    mate: Floats
    rank: Indices
    best: Floats


def read_scores(
    scores: NDArray[np.floating], column: Indices, mated: NDArray[np.bool_]
) -> Searches:
    """See how the probes' own people did.

    Convention:
        Equal scores count against the system: a mate that ties with one other is second.

    Args:
        scores: (B, K) float, every probe against everybody.
        column: (B,) int64, column of the probe's own person, -1 without one.
        mated: (B,) bool, whether that person is enrolled, with or without a usable template.

    Raises:
        ShapeError: arrays of different lengths.
    """
    if not len(scores) == len(column) == len(mated):
        raise ShapeError(f"expected equal lengths: {len(scores)}, {len(column)}, {len(mated)}")
    own = scores[np.arange(len(scores)), column]
    own[(column < 0) | ~mated] = -np.inf
    rank = np.count_nonzero(scores >= own[:, None], axis=1).astype(np.int64)
    rank[np.isneginf(own)] = NEVER
    best = scores.max(axis=1, initial=-np.inf)
    return Searches(mated, own.astype(np.float64), rank, best.astype(np.float64))


def failed_searches(mated: NDArray[np.bool_]) -> Searches:
    """Return the searches of probes without a vector."""
    nothing = np.full(len(mated), -np.inf)
    return Searches(mated, nothing, np.full(len(mated), NEVER), nothing)


def join(parts: Sequence[Searches]) -> Searches:
    """Put searches one after the other."""
    columns = zip(*((each.mated, each.mate, each.rank, each.best) for each in parts), strict=True)
    return Searches(*map(np.concatenate, columns))


def cmc(searches: Searches, ranks: NDArray[np.integer]) -> Floats:
    """Return (R,) shares of mated searches that find their person among the first k, or NaN.

    The (R,) ranks are those k, from 1.
    """
    found = searches.rank[searches.mated]
    if not found.size:
        return np.full(len(ranks), np.nan)
    return np.searchsorted(np.sort(found), ranks, side="right") / found.size


@dataclass(frozen=True)
class OpenSetErrors:
    """Errors at a threshold, whoever set it.

    Attributes:
        threshold: score from which a candidate is returned.
        fpir: share of non-mated searches that return anybody; NaN without any.
        fnir: share of mated searches that do not return the person, at whatever rank; NaN without.
        dir: share of mated searches that return the person, first: the detection and
            identification rate; FPIR is the FAR in its usual name, DIR@FAR.
    """

    threshold: float
    fpir: float
    fnir: float
    dir: float


@dataclass(frozen=True)
class OpenSetPoint:
    """Errors while no more strangers are taken for somebody than asked for.

    Attributes:
        target: largest FPIR allowed, in (0, 1].
        threshold: lowest score that keeps to it.
        fpir, fnir, dir: as in `OpenSetErrors`, the FPIR at most `target`.
        enough_searches: whether there are the 1/target non-mated searches without which the
            point only says that no stranger was taken for somebody.
    """

    target: float
    threshold: float
    fpir: float
    fnir: float
    dir: float
    enough_searches: bool


def open_set_point(searches: Searches, target: float) -> OpenSetPoint:
    """Find the most lenient threshold that keeps the FPIR in bounds, and the errors there.

    Rates are NaN without mated or without non-mated searches. A target outside (0, 1] is refused.
    """
    # A mated search is a genuine comparison here, the best score of a stranger an impostor one.
    scores = np.where(searches.mated, searches.mate, searches.best)
    point = operating_point(roc(scores, searches.mated), target)
    errors = errors_at(searches, point.threshold)
    if np.isnan(point.far):  # no stranger, and so no threshold
        errors = replace(errors, fnir=np.nan, dir=np.nan)
    return OpenSetPoint(target, **asdict(errors), enough_searches=point.enough_impostors)


def errors_at(searches: Searches, threshold: float) -> OpenSetErrors:
    """Count the errors of one threshold."""
    mated = searches.mated
    found = searches.mate[mated] >= threshold
    rates = (
        float(share(np.count_nonzero(happened), happened.size))
        for happened in (
            searches.best[~mated] >= threshold,
            ~found,
            found & (searches.rank[mated] == 1),
        )
    )
    return OpenSetErrors(threshold, *rates)
