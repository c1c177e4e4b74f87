"""Enrol the people of one embedding file, and know each probe of another among them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.metrics.blocks import Faces, Indices, unit_rows
from mfrkit.metrics.gallery import Gallery
from mfrkit.stages.people import People, numbered, people_of


class Searched(Protocol):
    """What probes are compared with."""

    @property
    def rows(self) -> int:
        """Return how many vectors a probe is compared with."""

    def scores(self, probes: Faces) -> NDArray[np.float32]:
        """Return the (B, K) scores of B probes, one column for each person."""


@dataclass(frozen=True, eq=False)
class Enrolment:
    """A gallery, and what is known about the inputs of a probe file before any is searched.

    Attributes:
        gallery: compares with those of the gallery's people that have a template.
        names: their names, by column of the scores.
        people: number of people in the gallery, with or without a template.
        unusable: inputs of the gallery without usable vector.
        probes: keys and names of the P probes, those without a vector last.
        person: (P,) int64, code of each probe's person.
        photo: (P,) int64, code of its photo.
        column: (P,) int64, column of its person in the scores, -1 without one.
        mated: (P,) bool, whether its person is in the gallery, other than by the same photo.
        own_photo: (P,) bool, whether its own photo is there.
    """

    gallery: Searched
    names: list[str]
    people: int
    unusable: int
    probes: People
    person: Indices
    photo: Indices
    column: Indices
    mated: NDArray[np.bool_]
    own_photo: NDArray[np.bool_]

    def read(self, reader: EmbeddingReader, start: int, stop: int) -> Faces:
        """Return some probes; one without direction has a vector of zeros."""
        place = np.arange(start, min(stop, reader.count))
        vectors, _ = unit_rows(reader.vectors(start, stop))
        return Faces(vectors, self.person[place], self.photo[place], place)


def enrol(known: EmbeddingReader, probes: EmbeddingReader, pool: str) -> Enrolment:
    """Build the templates of all people; the gallery is held in memory.

    Args:
        known: the gallery's file.
        probes: the probes' file; only names are read.
        pool: `mean`, `norm` or `none`.

    Raises:
        InputError: vectors of different sizes, pictures of nobody, no usable vector in the
            gallery, or no norms under `norm`.
    """
    if known.dim != probes.dim:
        raise InputError(
            f"{probes.path}: vectors of {probes.dim} values cannot be searched among the "
            f"{known.dim} of {known.path}; embed both with one model"
        )
    people, searched = people_of(known), people_of(probes)
    person, probe_person = numbered(people.identities, searched.identities)
    photo, probe_photo = numbered(people.photo_ids, searched.photo_ids)
    vectors, usable = unit_rows(known.vectors(0, known.count))
    rows = np.flatnonzero(usable)
    if not rows.size:
        raise InputError(f"{known.path}: nobody to search among; it has no usable embedding")
    gallery = Gallery(
        Faces(vectors[rows], person[rows], photo[rows], rows), _weights(known, rows, pool)
    )
    column = np.searchsorted(gallery.persons, probe_person)
    column[column == len(gallery.persons)] = 0
    column[gallery.persons[column] != probe_person] = -1
    photos, own = _occurrences(person, probe_person), _occurrences(photo, probe_photo)
    name_of = dict(zip(person.tolist(), people.identities, strict=True))
    return Enrolment(
        gallery=gallery,
        names=[name_of[code] for code in gallery.persons.tolist()],
        people=len(name_of),
        unusable=len(person) - rows.size,
        probes=searched,
        person=probe_person,
        photo=probe_photo,
        column=column,
        mated=photos > own,
        own_photo=own > 0,
    )


def _weights(
    reader: EmbeddingReader, rows: NDArray[np.intp], pool: str
) -> NDArray[np.float32] | None:
    if pool == "none":
        return None
    if pool == "mean":
        return np.ones(len(rows), np.float32)
    norms = reader.norms[rows]
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise InputError(f"{reader.path}: has no norms to weigh by; use --pool mean")
    return norms


def _occurrences(codes: Indices, wanted: Indices) -> Indices:
    """Return how often each wanted code occurs."""
    length = int(max(codes.max(initial=-1), wanted.max(initial=-1))) + 1
    return np.bincount(codes, minlength=length)[wanted]
