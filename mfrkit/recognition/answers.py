"""Who is on a photo? Each face of each shot, held against everybody in a gallery."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.models.cards import ModelCard
from mfrkit.recognition.decision import (
    Decider,
    Threshold,
    fmr_for,
    fpir_for,
    lowest_fmr,
)
from mfrkit.recognition.gallery import NO_DIRECTION, Gallery
from mfrkit.recognition.look import PhotoFace, SeenPhoto
from mfrkit.recognition.options import DEFAULT_FPIR
from mfrkit.stages.flow import batched

UNKNOWN = "unknown"
_BATCH = 64  # faces searched at a time


@dataclass(frozen=True, eq=False)
class Probe:
    """A face to be searched, or a shot without one.

    Attributes:
        shot: key of the photo.
        number: which of its faces, from 1; 0 for a shot without one.
        vector: (D,) float32 of unit norm; None without a face.
        masked: whether it wears a mask; None if nobody looked.
        face: all that is known of it, where it was found in a photo.
        reason: why there is no face.
    """

    shot: str
    number: int = 0
    vector: NDArray[np.float32] | None = field(default=None, repr=False)
    masked: bool | None = None
    face: PhotoFace | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """Who a face is.

    Attributes:
        probe: the face.
        best: the most similar person of the gallery; None for a shot without a face.
        score: similarity to that person's template; -inf without.
        photo: key of that person's first photo.
        runner_up: the next person; None if there is none.
        runner_up_score: likewise; -inf without.
        threshold: what the score is held against; None if the card has none.
    """

    probe: Probe
    best: str | None = None
    score: float = -np.inf
    photo: str | None = None
    runner_up: str | None = None
    runner_up_score: float = -np.inf
    threshold: Threshold | None = None

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
        if not vectors:
            yield from (Answer(probe) for probe in batch)
            continue
        found = gallery.finder(np.stack(vectors), 2)
        rows = zip(found.scores.tolist(), found.places.tolist(), strict=True)
        for probe in batch:
            yield (
                Answer(probe)
                if probe.vector is None
                else _answer(gallery, probe, *next(rows), decider)
            )


def _answer(
    gallery: Gallery, probe: Probe, scores: list[float], places: list[int], decider: Decider
) -> Answer:
    (first, second), worn = places, int(gallery.masked[places[0]])
    return Answer(
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
                yield Probe(key, reason=NO_DIRECTION)
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
    """Choose the thresholds of a search.

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
