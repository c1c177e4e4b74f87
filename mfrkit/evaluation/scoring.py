"""What is evaluated: embedding files, templates pooled from them, or nothing but scores.

A system is one or two embedding files that a model made; several pictures of a person can be
pooled into one vector first, and images that have no embedding are accounted for. Of systems that
run elsewhere a score file is enough: it is matched with the pair list, and treated alike from
there on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.thresholds import PairGroups, group_pairs
from mfrkit.io.embeddings import EmbeddingReader, Vectors
from mfrkit.io.pairs import PairList
from mfrkit.io.tables import Covariates, ScoreFile, TemplateList, read_scores

_BLOCK_BYTES = 32 * 2**20  # of vectors per side held in memory at a time
_BLOCK = 8192  # pictures of templates read at a time
_NAMED = 3  # what is missing named in a message

# Embedding file, file of the second images (if another), and the file's attributes.
Files = tuple[Path, Path | None, dict[str, Any]]


@dataclass(frozen=True)
class Absence:
    """What one file lacks of a pair list.

    Attributes:
        path: the file.
        missing: key of an image, or `a b` of a pair, and why, empty if unknown; in list order.
        wanted: different images, or pairs, looked up in the file.
        of: `images`, which have no embedding, or `pairs`, which have no score.
    """

    path: Path
    missing: Sequence[tuple[str, str]]
    wanted: int
    of: str = "images"

    def __str__(self) -> str:
        """Say it in one line, the first few by name."""
        first = self.missing[:_NAMED]
        shown = ", ".join(f"{key} ({why})" if why else key for key, why in first)
        more = ", ..." if len(self.missing) > _NAMED else ""
        what = "embedding" if self.of == "images" else "score"
        return (
            f"{self.path}: no {what} for {len(self.missing)} of the {self.wanted} {self.of} "
            f"in the list: {shown}{more}"
        )


@dataclass(frozen=True)
class LostImages:
    """How many different images of a list gave no embedding, first ones (references) and second."""

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
        absences: one entry for each file that lacks something of the list.
        enrolment: the images without embedding; None where only scores are known.
    """

    scores: NDArray[np.float64]
    absences: tuple[Absence, ...]
    enrolment: LostImages | None = None


@dataclass(frozen=True, eq=False)
class ScoredSystem:
    """All that is read of one system's files.

    Attributes:
        files: which they are, and what made them.
        scored: the comparisons of the pair list.
        unmasked: the comparisons within the first file, if thresholds are to be set there.
        groups: the groupings asked for.
        identities: image key -> person, where the files know it.
    """

    files: Files
    scored: ScoredPairs
    unmasked: ScoredPairs | None
    groups: tuple[PairGroups, ...]
    identities: Mapping[str, str]


def score_system(
    pairs: PairList,
    files: tuple[Path, Path | None],
    options: EvalOptions,
    templates: TemplateList | None,
    table: Covariates | None,
    console: Console,
) -> ScoredSystem:
    """Read what one system's files say of the pair list.

    Args:
        pairs: the list.
        files: embeddings, and those of the second images if they are elsewhere.
        options: what is asked for.
        templates: which pictures make up each template; None where pairs name pictures.
        table: further traits of images.
        console: hears of files that do not belong together.

    Raises:
        InputError: unusable files, or none of the list's images in them.
    """
    path, probe = files
    with ExitStack() as stack:
        first = stack.enter_context(EmbeddingReader(path))
        second = stack.enter_context(EmbeddingReader(probe)) if probe else first
        _compare_origins(first, second, console)
        a, b = _as_templates(first, second, templates, console)
        return ScoredSystem(
            files=(path, probe, first.attributes),
            scored=_score_pairs(pairs, a, b),
            unmasked=_score_pairs(pairs, a, a) if options.fix_threshold else None,
            groups=tuple(group_pairs(pairs, by, table, first, second) for by in options.by),
            identities=_identities(first, second) if options.ci else {},
        )


def _compare_origins(first: EmbeddingReader, second: EmbeddingReader, console: Console) -> None:
    for name in ("weights_sha256", "model", "flip"):
        a, b = first.attributes.get(name), second.attributes.get(name)
        if a is not None and b is not None and a != b:
            # A student may share its teacher's space, so this is worth a word, not a refusal.
            console.warn(f"{first.path} and {second.path} differ in {name}: {a} and {b}")
            return


def _identities(first: EmbeddingReader, second: EmbeddingReader) -> dict[str, str]:
    known = dict(zip(second.each_key(), second.identities, strict=True))
    return known | dict(zip(first.each_key(), first.identities, strict=True))


def _score_pairs(pairs: PairList, first: Vectors, second: Vectors) -> ScoredPairs:
    """Compare each pair's first image in one file with its second image in another, or the same.

    Memory stays bounded: vectors are read in blocks of pairs.
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
        absences = [
            _absence(first, pairs.a + pairs.b, np.append(rows_a, rows_b), np.tile(broken, 2))
        ]
    else:
        absences = [
            _absence(first, pairs.a, rows_a, broken),
            _absence(second, pairs.b, rows_b, broken),
        ]
    references, probes = set(pairs.a), set(pairs.b)
    enrolment = LostImages(
        failed_references=len(references & dict(absences[0].missing).keys()),
        references=len(references),
        failed_probes=len(probes & dict(absences[-1].missing).keys()),
        probes=len(probes),
    )
    return ScoredPairs(scores, tuple(absence for absence in absences if absence.missing), enrolment)


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
    return Absence(reader.path, list(images.items()), len(set(keys)))


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (M,) cosine similarities of (M, D) vectors; NaN for a zero or non-finite vector."""
    product, *lengths = (
        np.einsum("ij,ij->i", *each, dtype=np.float64) for each in ((a, b), (a, a), (b, b))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(product / np.sqrt(lengths[0] * lengths[1]), -1.0, 1.0)


def _likely_cause(keys: Sequence[str], reader: Vectors) -> str:
    """Guess why two sets of names do not meet, from names that end or begin alike."""
    if not reader.index:
        return "it has no embeddings at all"
    by_name = {key.rpartition("/")[2]: key for key in reader.index}
    for wanted in keys:
        held = by_name.get(wanted.rpartition("/")[2])
        if held is None:
            continue
        said = f"the list says {wanted!r}, the file {held!r}: embed the folder"
        if held.endswith(f"/{wanted}"):
            extra = held[: -len(wanted)].rstrip("/")
            return f"{said} {extra!r} itself, not the one above it"
        if wanted.endswith(f"/{held}"):
            extra = wanted[: -len(held)].rstrip("/")
            return f"{said} that holds {extra!r}, not that one itself"
    held = next((key for key in reader.index if key.startswith(keys[0])), next(iter(reader.index)))
    return f"the list says for example {keys[0]!r}, the file {held!r}"


class PooledTemplates:
    """The templates of a list as vectors of their own.

    Convention:
        As the IJB protocols pool: the mean of the unit vectors of each medium (a video counts
        like one photo), the sum over media, scaled to unit length.

    Attributes:
        index: template -> row, for the templates with at least one vector.
        skipped: template -> why it has no vector.
        missing: pictures of the list without a usable vector; the others still make a template.
    """

    def __init__(self, reader: EmbeddingReader, templates: TemplateList) -> None:
        self.path: Path = reader.path
        self.dim: int = reader.dim
        sums, used = np.zeros((len(templates.names), reader.dim)), 0
        for template, means, pictures in _by_media(reader, templates):
            np.add.at(sums, template, means)
            used += pictures
        self.missing = len(templates.keys) - used
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        usable = lengths[:, 0] > 0
        self._vectors = (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        self.index = {name: row for row, name in enumerate(templates.names) if usable[row]}
        counts = np.bincount(templates.template, minlength=len(templates.names))
        self.skipped = {
            templates.names[row]: f"none of its {counts[row]} pictures has one"
            for row in np.flatnonzero(~usable).tolist()
        }

    def rows(self, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return (M, D) float32, the vectors of some templates, in the order asked."""
        return self._vectors[indices]


def _by_media(
    reader: EmbeddingReader, templates: TemplateList
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], int]]:
    """Yield, some media at a time, their templates, mean unit vectors, and pictures used."""
    index = reader.index
    rows = np.array([index.get(key, -1) for key in templates.keys], dtype=np.int64)
    present = rows >= 0
    rows, media = rows[present], templates.media[present]
    template = templates.template[present]
    for block in _whole_media(media):
        vectors = reader.rows(rows[block]).astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        _, first, place = np.unique(media[block][usable], return_index=True, return_inverse=True)
        means = np.zeros((first.size, reader.dim))
        np.add.at(means, place, vectors[usable] / lengths[usable, None])
        means /= np.bincount(place, minlength=first.size)[:, None]
        yield template[block][usable][first], means, int(np.count_nonzero(usable))


def _whole_media(media: NDArray[np.int64]) -> Iterator[slice]:
    """Cut pictures into blocks that part no medium; a medium larger than a block is one alone."""
    ends = np.append(np.flatnonzero(np.diff(media)) + 1, media.size)
    start = 0
    while start < media.size:
        following = np.searchsorted(ends, start, side="right")
        fitting = np.searchsorted(ends, start + _BLOCK, side="right") - 1
        stop = int(ends[max(following, fitting)])
        yield slice(start, stop)
        start = stop


def _as_templates(
    first: EmbeddingReader,
    second: EmbeddingReader,
    templates: TemplateList | None,
    console: Console,
) -> tuple[Vectors, Vectors]:
    """Pool the pictures of both embedding files, which may be one, if there is a template list."""
    if templates is None:
        return first, second
    pooled = [PooledTemplates(reader, templates) for reader in dict.fromkeys((first, second))]
    for one in pooled:
        if one.missing:
            console.warn(
                f"{one.path}: no embedding for {one.missing} of the {len(templates.keys)} pictures "
                f"of {templates.path}; their templates are pooled from the others"
            )
    return pooled[0], pooled[-1]


def distinct_labels(systems: Sequence[Files], names: Sequence[str] = ()) -> list[str]:
    """Return a label for each system, no two alike.

    The labels are the names given, or else the shortest that tell the systems apart: the model,
    the file name, both, the path, and at last a number.

    Raises:
        InputError: not one name for each system, an empty name, or one given twice.
    """
    if names:
        if len(names) != len(systems):
            raise InputError(f"--names: {len(names)} names for {len(systems)} embedding files")
        if len(set(names)) != len(names) or not all(name.strip() for name in names):
            raise InputError("--names: each system needs a name of its own")
        return list(names)
    made_by = [made.get("model") for *_, made in systems]
    models = [model if isinstance(model, str) else "" for model in made_by]
    files = [[path, probes] if probes else [path] for path, probes, _ in systems]
    stems = [" vs ".join(path.stem for path in paths) for paths in files]
    both = [f"{s} ({model})" if model else s for s, model in zip(stems, models, strict=True)]
    paths = [" vs ".join(map(str, paths)) for paths in files]
    for labels in (models, stems, both, paths):
        if all(labels) and len(set(labels)) == len(labels):
            return labels
    return [f"{stem} #{place}" for place, stem in enumerate(stems, 1)]


def given_systems(
    pairs: PairList, scores_in: Sequence[Path], console: Console
) -> Iterator[ScoredSystem]:
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
            yield ScoredSystem(
                (path, None, attributes), _account(pairs, path, scores), None, (), {}
            )


def _match(pairs: PairList, file: ScoreFile) -> NDArray[np.int64]:
    """Return (P,) where each pair of the list is in the file, -1 where it is not."""
    theirs = file.pairs
    if theirs.a == pairs.a and theirs.b == pairs.b:
        places = np.arange(len(pairs))
    else:
        index = _index(file)
        both = zip(pairs.a, pairs.b, strict=True)
        places = np.array([index.get((a, b), index.get((b, a), -1)) for a, b in both])
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
    missing = np.flatnonzero(np.isnan(scores)).tolist()
    named = [(f"{pairs.a[place]} {pairs.b[place]}", "") for place in missing]
    absences = (Absence(path, named, len(pairs), "pairs"),) if named else ()
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
