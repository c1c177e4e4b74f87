"""Which files make up each evaluated system, what they say of the pairs, and what it is called."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.covariates import Covariates
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.pairs import PairList
from mfrkit.io.template_lists import TemplateList
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.pair_groups import PairGroups, group_pairs
from mfrkit.stages.scoring import ScoredPairs, score_pairs
from mfrkit.stages.templates import as_templates

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
