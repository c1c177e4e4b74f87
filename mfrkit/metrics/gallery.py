"""Search faces in a gallery of known people.

Convention (the whole module):
    A person's score is the cosine similarity to that person's template, or, without pooling, the
    best over the person's photos. A probe's own photo, should the gallery hold it, is left out of
    the search as if it had never been enrolled.
"""

import numpy as np
from numpy.typing import NDArray

from mfrkit.metrics.blocks import Faces, Indices, equal_pairs, unit_rows


class Gallery:
    """Known people, each with one template or several photos.

    Args:
        faces: all photos, at least one, in any order.
        weights: (R,) float32 weight of each photo in its person's template: ones for the mean of
            unit vectors, the norms before normalisation for a mean by quality; None to keep the
            photos apart.

    Attributes:
        persons: (K,) int64, the people, rising.
    """

    def __init__(self, faces: Faces, weights: NDArray[np.float32] | None) -> None:
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

    def scores(self, probes: Faces) -> NDArray[np.float32]:
        """Compare probes with everybody.

        Args:
            probes: B faces, with person and photo codes of the gallery's numbering.

        Returns:
            (B, K) float32, one column for each of `persons`; -inf where nothing but the probe's
            own photo is enrolled.

        Example:
            >>> def faces(photos, *vectors):
            ...     return Faces(np.array(vectors, np.float32), np.arange(2), photos, np.arange(2))
            >>> known = Gallery(faces(np.array([0, 1]), [1.0, 0.0], [0.0, 1.0]), None)
            >>> known.scores(faces(np.array([2, 1]), [0.0, 1.0], [0.0, 1.0])).tolist()
            [[0.0, 1.0], [0.0, -inf]]
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
        self, scores: NDArray[np.float32], probes: Faces, probe: Indices, own: Indices
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
