"""Known people, one template each, and who a face is among them.

They come from embedding files or photos in memory. The most similar of many vectors are found
exactly, block by block, or through a faiss index.

Convention:
    A person's template is the mean of the person's unit vectors. It counts as masked when all of
    its photos are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import replacing
from mfrkit.io.manifest import identity_of
from mfrkit.io.people import numbered
from mfrkit.metrics.all_pairs import unit_rows
from mfrkit.models.cards import ModelCard
from mfrkit.recognition.decision import Decider, Threshold, fmr_for, fpir_for, lowest_fmr
from mfrkit.recognition.look import PhotoFace, SeenPhoto
from mfrkit.recognition.options import DEFAULT_FPIR
from mfrkit.stages.flow import batched

_ROWS = 32768  # vectors multiplied at a time: they and their scores stay near the cache
_PROBED = 64  # cells of the index that are looked into
_TRAINED_ON = 64  # vectors a cell from which the cells are made
_PROOF = 16  # vectors by which an index shows that it is of these


class Nearest(NamedTuple):
    """The best of each probe, best first."""

    scores: NDArray[np.float32]  # (B, M) similarities; -inf where there are fewer than M
    places: NDArray[np.int64]  # (B, M) whose they are; -1 where there are fewer


# Takes (B, D) unit vectors, and how many of the most similar to find.
_NearestFinder = Callable[[NDArray[np.float32], int], Nearest]


class Exact:
    """Compares with all of (K, D) unit vectors; memory beside them does not grow with K."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def __call__(self, probes: NDArray[np.float32], count: int) -> Nearest:
        """Return the best of all vectors; of equal ones the first."""
        best = np.full((len(probes), count), -np.inf, np.float32)
        places = np.full((len(probes), count), -1, np.int64)
        row = np.arange(len(probes))
        for start in range(0, len(self._vectors), _ROWS):
            scores = probes @ self._vectors[start : start + _ROWS].T
            here, there = np.full_like(best, -np.inf), np.full_like(places, -1)
            for rank in range(min(count, scores.shape[1])):
                top = scores.argmax(axis=1)
                here[:, rank], there[:, rank] = scores[row, top], top + start
                scores[row, top] = -np.inf
            both = np.concatenate([best, here], axis=1)
            order = np.argsort(-both, axis=1, kind="stable")[:, :count]
            best = np.take_along_axis(both, order, axis=1)
            places = np.take_along_axis(np.concatenate([places, there], axis=1), order, axis=1)
        return Nearest(best, places)


class Approximate:
    """Looks into the likeliest cells only (an inverted file of faiss); may miss the best.

    The index is kept in the file `path`; one of other than these (K, D) unit vectors is made anew.
    Without faiss it is an InputError.
    """

    def __init__(self, vectors: NDArray[np.float32], path: Path) -> None:
        try:
            import faiss
        except ImportError as error:
            raise InputError(
                "--approximate needs faiss: pip install 'mfrkit[index]'; without it the search "
                "is exact"
            ) from error
        self._index = _read(faiss, path, vectors) or _build(faiss, path, vectors)
        faiss.ParameterSpace().set_index_parameter(self._index, "nprobe", _PROBED)

    def __call__(self, probes: NDArray[np.float32], count: int) -> Nearest:
        """Return the best of the vectors in the cells nearest to each probe."""
        scores, places = self._index.search(np.ascontiguousarray(probes), count)
        scores[places < 0] = -np.inf
        return Nearest(scores, places)


def _read(faiss: Any, path: Path, vectors: NDArray[np.float32]) -> Any:
    """Return the index in a file if it is of these vectors, else None."""
    if not path.is_file():
        return None
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError):  # not an index, or half of one
        return None
    if not isinstance(index, faiss.IndexIVF) or (index.ntotal, index.d) != vectors.shape:
        return None
    places = np.linspace(0, len(vectors) - 1, _PROOF).astype(np.int64)
    scores, _ = index.search(vectors[places], 1)  # a vector lies in the cell it is nearest to
    return index if (scores > 0.9999).all() else None


def _build(faiss: Any, path: Path, vectors: NDArray[np.float32]) -> Any:
    count, dim = vectors.shape
    cells = max(1, min(round(4 * count**0.5), count // _TRAINED_ON))
    index = faiss.index_factory(dim, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    step = max(1, count // (cells * _TRAINED_ON))
    index.train(np.ascontiguousarray(vectors[::step]))
    for start in range(0, count, _ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + _ROWS]))
    with replacing(path) as temporary:
        faiss.write_index(index, str(temporary))
    return index


_NO_DIRECTION = "embedding without direction"


@dataclass(frozen=True, eq=False)
class Gallery:
    """K people."""

    names: Sequence[str]
    templates: NDArray[np.float32]  # (K, D) float32 of unit norm
    # (K,) int8: 1 if all photos show a mask, 0 if one does not, -1 unknown
    masked: NDArray[np.int8]
    photos: Sequence[str]  # key of the first photo of each
    skipped: Mapping[str, str]  # photos that give nothing -> why
    finder: _NearestFinder

    def __len__(self) -> int:
        return len(self.names)


def pooled(
    keys: Sequence[str],
    people: Sequence[str],
    vectors: NDArray[np.float32],
    masked: NDArray[np.int8],
    skipped: Mapping[str, str],
) -> Gallery:
    """Make one template of each person's photos; InputError if nobody is left.

    Args:
        keys: N names of photos.
        people: N names of people.
        vectors: (N, D) float; those without direction count as skipped. They may be overwritten.
        masked: (N,) int8: -1 unknown, 0, 1.
        skipped: photos that give nothing -> why.
    """
    unit, usable = unit_rows(vectors)
    lost = {keys[row]: _NO_DIRECTION for row in np.flatnonzero(~usable).tolist()}
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise InputError("nobody to search among: no photo of the gallery shows a usable face")
    (person,) = numbered([people[row] for row in rows.tolist()])
    order = rows[np.argsort(person, kind="stable")]
    starts = np.flatnonzero(np.diff(np.sort(person), prepend=-1))
    if len(starts) == len(rows):
        templates = unit if len(rows) == len(unit) else unit[rows]
    else:
        templates, _ = unit_rows(np.add.reduceat(unit[order], starts, axis=0))
    # One bare photo decides; without any, one that nobody looked at leaves it open.
    bare = np.logical_or.reduceat(masked[order] == 0, starts)
    doubt = np.logical_or.reduceat(masked[order] < 0, starts)
    first = order[starts].tolist()
    return Gallery(
        names=[people[row] for row in first],
        templates=templates,
        masked=np.where(bare, 0, np.where(doubt, -1, 1)).astype(np.int8),
        photos=[keys[row] for row in first],
        skipped={**skipped, **lost},
        finder=Exact(templates),
    )


def gallery_in(path: Path) -> Gallery:
    """Read a gallery from an embedding file; InputError if it is none, or nobody is in it."""
    with EmbeddingReader(path) as reader:
        keys = reader.texts("keys", 0, reader.count)
        people = [name or person_of(key) for key, name in zip(keys, reader.identities, strict=True)]
        vectors = reader.vectors(0, reader.count)
        try:
            return pooled(keys, people, vectors, reader.masked, reader.skipped)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def person_of(key: str) -> str:
    """Name the person of a photo: the first folder, or in a flat gallery the file."""
    return identity_of(key) or key


UNKNOWN = "unknown"
_BATCH = 64  # faces searched at a time


@dataclass(frozen=True, eq=False)
class Probe:
    """A face to be searched, or a shot without one."""

    shot: str
    number: int = 0  # which of its faces, from 1; 0 for a shot without one
    # (D,) float32 of unit norm; None without a face
    vector: NDArray[np.float32] | None = field(default=None, repr=False)
    masked: bool | None = None  # whether it wears a mask; None if nobody looked
    face: PhotoFace | None = None  # all that is known of it, where it was found in a photo
    reason: str | None = None  # why there is no face


@dataclass(frozen=True, eq=False)
class Answer:
    """Who a face is."""

    probe: Probe
    # the most similar person of the gallery; None for a shot without a face
    best: str | None = None
    score: float = -np.inf  # similarity to that person's template; -inf without
    photo: str | None = None  # key of that person's first photo
    runner_up: str | None = None  # the next person; None if there is none
    runner_up_score: float = -np.inf  # likewise; -inf without
    threshold: Threshold | None = None  # what the score is held against; None if the card has none

    @property
    def known(self) -> bool | None:
        """Whether the best person is close enough; None without a face or a threshold."""
        if self.best is None or self.threshold is None:
            return None
        return self.score >= self.threshold.value

    @property
    def person(self) -> str | None:
        """The person, or `unknown`; None without a face or a threshold."""
        return None if self.known is None else self.best if self.known else UNKNOWN

    def to_json(self) -> dict[str, Any]:
        """Return it as one record; what there is none of is None."""
        face, threshold = self.probe.face, self.threshold
        return {
            "shot": self.probe.shot,
            "face": self.probe.number or None,
            "person": self.person,
            "known": self.known,
            "score": _rounded(self.score),
            "best": self.best,
            "runner_up": self.runner_up,
            "runner_up_score": _rounded(self.runner_up_score),
            "threshold": None if threshold is None else _rounded(threshold.value),
            "fmr": None if threshold is None else threshold.fmr,
            "fnmr": None if threshold is None else threshold.fnmr,
            "masked": self.probe.masked,
            "box": None if face is None else [round(float(x), 1) for x in face.box],
            "photo": self.photo,
            "reason": self.probe.reason,
        }


def answer_all(gallery: Gallery, probes: Iterable[Probe], decider: Decider) -> Iterator[Answer]:
    """Yield who each probe is, in order; a shot without a face gets an answer too."""
    for batch in batched(probes, _BATCH):
        vectors = [probe.vector for probe in batch if probe.vector is not None]
        found = gallery.finder(np.stack(vectors), 2) if vectors else Nearest(*np.empty((2, 0)))
        rows = zip(found.scores.tolist(), found.places.tolist(), strict=True)
        for probe in batch:
            if probe.vector is None:
                yield Answer(probe)
                continue
            scores, (first, second) = next(rows)
            worn = int(gallery.masked[first])
            yield Answer(
                probe,
                best=gallery.names[first],
                score=scores[0],
                photo=gallery.photos[first],
                runner_up=None if second < 0 else gallery.names[second],
                runner_up_score=scores[1],
                threshold=decider.threshold(None if worn < 0 else bool(worn), probe.masked),
            )


def probes_seen(photos: Iterable[SeenPhoto]) -> Iterator[Probe]:
    """Yield every face of every photo, and the photos without one."""
    for seen in photos:
        if not seen.faces:
            yield Probe(seen.key, reason=seen.reason)
        for number, face in enumerate(seen.faces, start=1):
            yield Probe(seen.key, number, face.embedding, face.masked, face)


def probes_in(reader: EmbeddingReader) -> Iterator[Probe]:
    """Yield every row of an embedding file, and the inputs it skipped."""
    for rows in reader.blocks():
        for key, vector, masked in zip(rows.keys, rows.embeddings, rows.masked, strict=True):
            length = float(np.linalg.norm(vector))
            if not np.isfinite(length) or not length:
                yield Probe(key, reason=_NO_DIRECTION)
            else:
                yield Probe(key, 1, vector / length, None if masked < 0 else bool(masked))
        for key, reason in zip(rows.skipped_keys, rows.skipped_reasons, strict=True):
            yield Probe(key, reason=reason)


def search_decider(
    card: ModelCard,
    people: int,
    *,
    fpir: float | None = None,
    fmr: float | None = None,
    threshold: float | Threshold | None = None,
) -> tuple[Decider, str | None]:
    """Choose the thresholds of a search among so many people.

    Args:
        card: of the model that made the embeddings.
        people: in the gallery.
        fpir: share of strangers taken for somebody; 0.01 unless an FMR is given.
        fmr: share of single comparisons with strangers that match, instead.
        threshold: least similarity, instead of both.

    Returns:
        What decides, and what must be said of it, if anything.

    Raises:
        InputError: both rates given, or one that cannot be.
    """
    if fpir is not None and fmr is not None:
        raise InputError("FPIR and FMR are two ways to say one thing; give one of them")
    asked = fmr_for(DEFAULT_FPIR if fpir is None else fpir, people) if fmr is None else fmr
    lowest = lowest_fmr(card)
    if threshold is not None or lowest is None or asked >= lowest:
        decider = Decider(card, asked, threshold)
        return decider, decider.why_not
    reached = fpir_for(lowest, people)
    return Decider(card, lowest), (
        f"the thresholds of {card.name} end at FMR {lowest:g}, {asked:.2g} is needed: among "
        f"{people} people {reached:.2g} of all strangers will be taken for somebody"
    )


def _rounded(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def check_made_by(path: Path, card: ModelCard) -> None:
    """Refuse embeddings of another model: their similarities mean nothing."""
    with EmbeddingReader(path) as reader:
        made, dim = reader.attributes, reader.dim
    digest = made.get("weights_sha256")
    if (digest and card.sha256 and digest != card.sha256) or dim != (card.embedding_dim or dim):
        raise InputError(
            f"{path}: made by {made.get('model') or 'another model'} ({dim} values), not by "
            f"{card.name}; name that model with --model, or embed again"
        )
