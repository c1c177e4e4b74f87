"""Which files make up each evaluated system, and what each system is called."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mfrkit.errors import InputError

# Embedding file, file of the second images (if another), and the file's attributes.
Files = tuple[Path, Path | None, dict[str, Any]]


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
