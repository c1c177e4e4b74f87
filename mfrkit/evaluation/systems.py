"""What is evaluated: embedding files, templates pooled from them, or nothing but scores.

A system is one or two embedding files that a model made; several pictures of a person can be
pooled into one vector first. Of systems that run elsewhere a score file is enough: it is matched
with the pair list, and treated alike from there on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.scoring import Absence, ScoredPairs, score_pairs
from mfrkit.evaluation.subjects import PairGroups, group_pairs
from mfrkit.io.embeddings import EmbeddingReader, Vectors
from mfrkit.io.pairs import PairList, read_pairs
from mfrkit.io.tables import Covariates, ScoreFile, TemplateList, read_scores

_BLOCK = 8192  # pictures read at a time


class PooledTemplates:
    """The templates of a list as vectors of their own.

    Convention:
        As the IJB protocols pool: the mean of the unit vectors of each medium (a video counts
        like one photo), the sum over media, scaled to unit length.

    Args:
        reader: embeddings of the pictures.
        templates: which pictures belong together.

    Attributes:
        path: the embedding file.
        dim: D.
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


def as_templates(
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


# Embedding file, file of the second images (if another), and the file's attributes.
Files = tuple[Path, Path | None, dict[str, Any]]


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
        a, b = as_templates(first, second, templates, console)
        return ScoredSystem(
            files=(path, probe, first.attributes),
            scored=score_pairs(pairs, a, b),
            unmasked=score_pairs(pairs, a, a) if options.fix_threshold else None,
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


def pair_up_probes(embeddings: Sequence[Path], probes: Sequence[Path]) -> tuple[Path | None, ...]:
    """Give each embedding file its probe file: none, the one there is, or its own.

    Raises:
        InputError: another number of probe files.

    Example:
        >>> pair_up_probes([Path("a.h5"), Path("b.h5")], [Path("m.h5")])
        (PosixPath('m.h5'), PosixPath('m.h5'))
    """
    if len(probes) > 1 and len(probes) != len(embeddings):
        raise InputError(
            f"--probes given {len(probes)} times for {len(embeddings)} embedding files: "
            "give one for all, or one for each"
        )
    if len(probes) == len(embeddings):
        return tuple(probes)
    return (probes[0] if probes else None,) * len(embeddings)


def distinct_labels(systems: Sequence[Files], names: Sequence[str] = ()) -> list[str]:
    """Return a label for each system, no two alike.

    The labels are the names given, or else the shortest that tell the systems apart: the model,
    the file name, both, the path, and at last a number.

    Raises:
        InputError: not one name for each system, an empty name, or one given twice.

    Example:
        >>> arcface = {"model": "arcface"}
        >>> distinct_labels([(Path("a.h5"), None, arcface), (Path("b.h5"), None, arcface)])
        ['a', 'b']
    """
    if names:
        if len(names) != len(systems):
            raise InputError(f"--names: {len(names)} names for {len(systems)} embedding files")
        if len(set(names)) != len(names) or not all(name.strip() for name in names):
            raise InputError("--names: each system needs a name of its own")
        return list(names)
    schemes: tuple[Callable[[Files], str], ...] = (_model, _stem, _stem_and_model, _path)
    for scheme in schemes:
        labels = [scheme(system) for system in systems]
        if all(labels) and len(set(labels)) == len(labels):
            return labels
    return [f"{_stem(system)} #{place}" for place, system in enumerate(systems, 1)]


def _model(system: Files) -> str:
    model = system[2].get("model")
    return model if isinstance(model, str) else ""


def _stem(system: Files) -> str:
    path, probes, _ = system
    return path.stem if probes is None else f"{path.stem} vs {probes.stem}"


def _stem_and_model(system: Files) -> str:
    model = _model(system)
    return f"{_stem(system)} ({model})" if model else _stem(system)


def _path(system: Files) -> str:
    path, probes, _ = system
    return str(path) if probes is None else f"{path} vs {probes}"


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
