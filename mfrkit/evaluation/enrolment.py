"""Who is known, and which probe is one of them: people enrolled, or taught to a classifier.

People are enrolled from one embedding file and probes of another found among them. A recogniser
with a feature classifier knows its people without any file: its rows take the place of theirs,
and embeddings that are there already suffice. No torch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import load_arrays
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.people import People, numbered, people_of
from mfrkit.metrics.all_pairs import FaceBlock, Indices, unit_rows
from mfrkit.metrics.identification import ScoredGallery
from mfrkit.models.registry import read_card, verify


@dataclass(frozen=True, eq=False)
class Classifier:
    """Who is known to a classifier, and how embeddings are compared with them.

    Attributes:
        people: K names.
        weight: (K, D) float32.
        bias: (K,) float32.
        sha256: of the tensors of the model the embeddings must come from.
    """

    people: list[str]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    sha256: str

    @property
    def rows(self) -> int:
        """How many people there are."""
        return len(self.people)

    def scores(self, probes: FaceBlock) -> NDArray[np.float32]:
        """Return (B, K) float32: the logarithms of the shares of everybody."""
        return self.log_shares(probes.vectors)

    def log_shares(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the natural logarithm of the softmax over everybody's scores.

        (B, D) unit vectors give (B, K) float32, at most 0.
        """
        scores = vectors @ self.weight.T + self.bias
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


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

    gallery: ScoredGallery | Classifier
    names: list[str]
    people: int
    unusable: int
    probes: People
    person: Indices
    photo: Indices
    column: Indices
    mated: NDArray[np.bool_]
    own_photo: NDArray[np.bool_]

    def read(self, reader: EmbeddingReader, start: int, stop: int) -> FaceBlock:
        """Return some probes; one without direction has a vector of zeros."""
        place = np.arange(start, min(stop, reader.count))
        vectors, _ = unit_rows(reader.vectors(start, stop))
        return FaceBlock(vectors, self.person[place], self.photo[place], place)


def enrol(known: EmbeddingReader, probes: EmbeddingReader, pool: str) -> Enrolment:
    """Build the templates of all people, held in memory; of the probes' file, only names are read.

    Raises:
        InputError: vectors of different sizes, pictures of nobody, no usable vector in the
            gallery, or no norms to pool by.
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
    gallery = ScoredGallery(
        FaceBlock(vectors[rows], person[rows], photo[rows], rows), _weights(known, rows, pool)
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


def load_classifier(model: str) -> Classifier:
    """Read the classifier of a recogniser, by name or file, that names whom it was trained on.

    Raises:
        InputError: no such model, or one without classifier.
        WeightsError: the file is damaged.
    """
    card, header, path = read_card(model)
    people = list(card.arguments.get("people", []))
    if not people:
        raise InputError(
            f"{path}: holds no classifier; mfrkit distill --method g2d --phase 3 trains one"
        )
    if not verify(model, header, path):
        raise WeightsError(f"{path}: tensors do not match their SHA-256; get the file again")
    weight, bias = load_arrays(path, ("classifier.weight", "classifier.bias"))
    scale = float(card.arguments.get("scale", 0.0))
    if scale:  # trained with a margin: compares by cosines
        weight = scale * weight / np.linalg.norm(weight, axis=1, keepdims=True)
        bias = np.zeros_like(bias)
    return Classifier(people, weight, bias, card.sha256)


def enrol_classes(classifier: Classifier, probes: EmbeddingReader) -> Enrolment:
    """Take a classifier's people for a gallery; of the probes' file, only names are read.

    Raises:
        InputError: embeddings of another model, or pictures of nobody.
    """
    made_by = str(probes.attributes.get("weights_sha256", classifier.sha256))
    width = classifier.weight.shape[1]
    if made_by != classifier.sha256 or probes.dim != width:
        raise InputError(
            f"{probes.path}: the embeddings are not those of the classifier's model; "
            "mfrkit embed --model makes them"
        )
    searched = people_of(probes)
    person, probe_person = numbered(classifier.people, searched.identities)
    known = probe_person < len(person)
    _, photo = numbered([], searched.photo_ids)
    return Enrolment(
        gallery=classifier,
        names=classifier.people,
        people=len(person),
        unusable=0,
        probes=searched,
        person=probe_person,
        photo=photo,
        column=np.where(known, probe_person, -1),
        mated=known,
        own_photo=np.zeros(len(known), bool),  # which photos it learned from, it does not say
    )
