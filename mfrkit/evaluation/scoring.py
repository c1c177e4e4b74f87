"""Compare the images of a pair list by their embeddings, and account for those that have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import Vectors
from mfrkit.io.pairs import PairList

_BLOCK_BYTES = 32 * 2**20  # of vectors per side held in memory at a time
_NAMED = 3  # missing images named in a message


@dataclass(frozen=True)
class Absence:
    """The images of a pair list that one embedding file cannot serve.

    Attributes:
        path: the embedding file.
        images: image key -> why it has no usable embedding, empty if unknown; in list order.
        wanted: different images looked up in the file.
    """

    path: Path
    images: dict[str, str]
    wanted: int

    def __str__(self) -> str:
        """Say it in one line, the first few images by name."""
        first = list(self.images.items())[:_NAMED]
        shown = ", ".join(f"{key} ({why})" if why else key for key, why in first)
        more = ", ..." if len(self.images) > _NAMED else ""
        return (
            f"{self.path}: no embedding for {len(self.images)} of the {self.wanted} images "
            f"in the list: {shown}{more}"
        )


@dataclass(frozen=True)
class LostImages:
    """How many different images of a pair list gave no embedding, by the part they play.

    Attributes:
        failed_references: first images without embedding: failures to enrol.
        references: different first images.
        failed_probes: second images without embedding: failures to acquire.
        probes: different second images.
    """

    failed_references: int
    references: int
    failed_probes: int
    probes: int

    @property
    def fte(self) -> float:
        """Failure-to-enrol rate."""
        return self.failed_references / self.references

    @property
    def fta(self) -> float:
        """Failure-to-acquire rate."""
        return self.failed_probes / self.probes


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """The comparisons of one pair list with one system.

    Attributes:
        scores: (P,) float64, cosine similarity in [-1, 1]; -inf where an image has no embedding.
        absences: one entry for each file that lacks an image of the list.
        enrolment: the images without embedding as references and as probes; None where only
            scores are known.
    """

    scores: NDArray[np.float64]
    absences: tuple[Absence, ...]
    enrolment: LostImages | None = None


def score_pairs(pairs: PairList, first: Vectors, second: Vectors) -> ScoredPairs:
    """Compare each pair's first image in one file with its second image in another, or the same.

    Memory stays bounded: vectors are read in blocks of pairs.

    Raises:
        InputError: the files hold vectors of different sizes, or none of the list's images.
    """
    if first.dim != second.dim:
        raise InputError(
            f"{second.path}: vectors of {second.dim} values cannot be compared with the "
            f"{first.dim} of {first.path}; embed both with one model"
        )
    rows_a, rows_b = _find(pairs.a, first), _find(pairs.b, second)
    scores = np.full(len(pairs), -np.inf)
    present = np.flatnonzero((rows_a >= 0) & (rows_b >= 0))
    block = max(1, _BLOCK_BYTES // (4 * max(1, first.dim)))
    for start in range(0, present.size, block):
        chosen = present[start : start + block]
        scores[chosen] = _cosines(first.rows(rows_a[chosen]), second.rows(rows_b[chosen]))
    broken = np.isnan(scores)
    scores[broken] = -np.inf
    if first is second:
        lookups = [(first, pairs.a + pairs.b, np.append(rows_a, rows_b), np.tile(broken, 2))]
    else:
        lookups = [(first, pairs.a, rows_a, broken), (second, pairs.b, rows_b, broken)]
    absences = [_absence(*lookup) for lookup in lookups]
    references, probes = set(pairs.a), set(pairs.b)
    enrolment = LostImages(
        failed_references=len(references & absences[0].images.keys()),
        references=len(references),
        failed_probes=len(probes & absences[-1].images.keys()),
        probes=len(probes),
    )
    return ScoredPairs(scores, tuple(absence for absence in absences if absence.images), enrolment)


def _find(keys: Sequence[str], reader: Vectors) -> NDArray[np.int64]:
    """Return (P,) rows of the keys, -1 where there is none."""
    index = reader.index
    rows = np.array([index.get(key, -1) for key in keys], dtype=np.int64)
    if (rows < 0).all():
        raise InputError(
            f"{reader.path}: has none of the images in the pair list; {_likely_cause(keys, reader)}"
        )
    return rows


def _absence(
    reader: Vectors,
    keys: Sequence[str],
    rows: NDArray[np.int64],
    broken: NDArray[np.bool_],
) -> Absence:
    """Collect the keys without a row, and among the broken comparisons those without direction."""
    images = {keys[place]: "" for place in np.flatnonzero(rows < 0).tolist()}
    if images:
        reasons = reader.skipped
        images = {key: reasons.get(key, "") for key in images}
    for place in np.flatnonzero(broken).tolist():
        vector = reader.rows(rows[place : place + 1])
        if not np.isfinite(vector).all() or not vector.any():
            images[keys[place]] = "its vector is zero or not finite"
    return Absence(reader.path, images, len(set(keys)))


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (M,) cosine similarities of (M, D) vectors; NaN for a zero or non-finite vector."""
    product = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    lengths = np.einsum("ij,ij->i", a, a, dtype=np.float64)
    lengths *= np.einsum("ij,ij->i", b, b, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(product / np.sqrt(lengths), -1.0, 1.0)


def _likely_cause(keys: Sequence[str], reader: Vectors) -> str:
    """Guess why two sets of names do not meet, from names that end or begin alike."""
    if not reader.index:
        return "it has no embeddings at all"
    by_name = {key.rpartition("/")[2]: key for key in reader.index}
    for wanted in keys:
        held = by_name.get(wanted.rpartition("/")[2])
        if held is None:
            continue
        if held.endswith(f"/{wanted}"):
            extra = held[: -len(wanted)].rstrip("/")
            return (
                f"the list says {wanted!r}, the file {held!r}: embed the folder {extra!r} itself, "
                "not the one above it"
            )
        if wanted.endswith(f"/{held}"):
            extra = wanted[: -len(held)].rstrip("/")
            return (
                f"the list says {wanted!r}, the file {held!r}: embed the folder that holds "
                f"{extra!r}, not that one itself"
            )
    held = next((key for key in reader.index if key.startswith(keys[0])), next(iter(reader.index)))
    return f"the list says for example {keys[0]!r}, the file {held!r}"
