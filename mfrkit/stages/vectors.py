"""Embedding files from embedding files: several recognisers fused, or masked templates unmasked.

Fused, files lie side by side as one; how, and why the cosine of two rows is the mean of the
recognisers' cosines, is told in `models/spaces.py`. Everything that reads embedding files reads
the result.

An unmasking network stays a file of its own and is never welded to its recogniser. So there is
one way to use it, whether the recogniser is open or closed, and it sees what it was trained on:
templates averaged over mirror images, which one piece with the recogniser would not.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.files import refuse_existing
from mfrkit.metrics.all_pairs import unit_rows
from mfrkit.models.cards import ModelCard
from mfrkit.models.model_files import read_card
from mfrkit.models.registry import load_for_task
from mfrkit.models.spaces import shares_of, side_by_side

_NAMED = 3  # keys named in a message


@dataclass(frozen=True)
class FuseOptions:
    """What to fuse, and how.

    Attributes:
        parts: embedding files of the same pictures.
        output: the fused file.
        weights: of the parts' cosines, positive; empty weighs all alike.
        force: replace an earlier result.
    """

    parts: Sequence[Path]
    output: Path
    weights: Sequence[float] = ()
    force: bool = False


def fuse(options: FuseOptions, console: Console) -> int:
    """Write the files side by side as one; rows, and all but the vectors, are the first file's.

    Returns:
        The number of rows.

    Raises:
        InputError: unusable files or weights, pictures that are not in all files, or an output that
            exists.
    """
    refuse_existing(options.output, force=options.force)
    if len(options.parts) < 2:
        raise InputError(f"{options.parts[0]}: nothing to fuse it with; name two files or more")
    shares = shares_of(options.weights, len(options.parts), "files")
    with ExitStack() as stack:
        readers = [stack.enter_context(EmbeddingReader(part)) for part in options.parts]
        for other in readers[1:]:
            _check_keys(readers[0], other)
        dim = sum(reader.dim for reader in readers)
        attributes = _fused_attributes(readers, shares)
        count = write_embeddings(options.output, _blocks(readers, shares), dim, attributes)
    console.info(f"fuse: {count} rows of {attributes['model']}, {dim} values -> {options.output}")
    return count


def parse_weights(text: str) -> tuple[float, ...]:
    """Read `2,1`.

    Raises:
        InputError: something that is not a positive number.

    Example:
        >>> parse_weights("2,0.5")
        (2.0, 0.5)
    """
    try:
        weights = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(f"--weights {text!r}: expected numbers, for example 2,1") from error
    if not all(0 < weight < np.inf for weight in weights):
        raise InputError(f"--weights {text!r}: weights must be positive")
    return weights


def _check_keys(first: EmbeddingReader, other: EmbeddingReader) -> None:
    """Refuse files of different pictures, rather than leave some out."""
    for one, two in ((first, other), (other, first)):
        missing = [key for key in one.index if key not in two.index]
        if missing:
            more = ", ..." if len(missing) > _NAMED else ""
            raise InputError(
                f"{two.path}: lacks {len(missing)} of the {one.count} keys of {one.path}: "
                f"{', '.join(missing[:_NAMED])}{more}; embed the same pictures"
            )


def _blocks(readers: Sequence[EmbeddingReader], shares: Sequence[float]) -> Iterator[Rows]:
    for block in readers[0].blocks():
        found = [block.embeddings]
        for reader in readers[1:]:
            places = np.array([reader.index[key] for key in block.keys], np.int64)
            found.append(reader.rows(places))
        unit, usable = zip(*map(unit_rows, found), strict=True)
        fused = side_by_side(unit, shares, np.concatenate)
        fused[~np.all(usable, axis=0)] = 0  # without one part there is no comparison
        unknown = np.full(len(block.keys), np.nan, np.float32)
        yield replace(block, embeddings=fused, norms=unknown)


def _fused_attributes(
    readers: Sequence[EmbeddingReader], shares: Sequence[float]
) -> dict[str, Any]:
    """Return what the file says of its vectors; two fusions of the same parts say the same."""
    names = [str(reader.attributes.get("model", reader.path.stem)) for reader in readers]
    shares = [round(share, 6) for share in shares]
    origins = [
        (str(reader.attributes.get("weights_sha256", "")), share)
        for reader, share in zip(readers, shares, strict=True)
    ]
    flips = {reader.attributes.get("flip") for reader in readers}
    return {
        "model": " & ".join(names),
        "weights_sha256": hashlib.sha256(json.dumps(origins).encode()).hexdigest(),
        "weights": shares,
        **({"flip": flips.pop()} if len(flips) == 1 and None not in flips else {}),
    }


Unmask = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class UnmaskOptions:
    """What to unmask, and with which network.

    Attributes:
        source: embedding file.
        output: embedding file to write.
        model: unmasking network, bundled name or model file.
        only_masked: leave the rows alone that are not marked as masked.
        force: replace an earlier result.
    """

    source: Path
    output: Path
    model: str
    only_masked: bool = False
    force: bool = False


def unmask(options: UnmaskOptions, console: Console) -> int:
    """Write an embedding file again with its templates unmasked; all else stays.

    Returns:
        The number of rows unmasked.

    Raises:
        InputError: an unusable file or model, a model for another recogniser's templates, or an
            output that exists.
        WeightsError: the model's file is damaged.
    """
    refuse_existing(options.output, force=options.force)
    card = read_card(options.model)[0]
    changed = 0
    with EmbeddingReader(options.source) as reader:
        _check(reader, card, options)
        change = _load(options.model)

        def blocks() -> Iterator[Rows]:
            nonlocal changed
            for rows in reader.blocks():
                chosen = rows.masked == 1 if options.only_masked else np.full(len(rows.keys), True)
                vectors = rows.embeddings.copy()
                vectors[chosen] = change(vectors[chosen])
                changed += int(chosen.sum())
                yield replace(rows, embeddings=vectors)

        count = write_embeddings(
            options.output, blocks(), reader.dim, _unmasked_attributes(reader, card)
        )
    console.info(f"unmask: {changed} of {count} rows -> {options.output}")
    return changed


def _check(reader: EmbeddingReader, card: ModelCard, options: UnmaskOptions) -> None:
    if card.task != "unmasking":
        raise InputError(
            f"{options.model}: is for {card.task}, not unmasking; choose another model"
        )
    found, base = reader.attributes, card.base
    if "unmasked_by" in found:
        raise InputError(f"{reader.path}: was unmasked already, by {found['unmasked_by']}")
    if reader.dim != card.embedding_dim:
        raise InputError(
            f"{reader.path}: has {reader.dim} values a row, {options.model} takes "
            f"{card.embedding_dim}, those of {base.get('model') or 'another recogniser'}"
        )
    for name in ("weights_sha256", "model"):
        if found.get(name) and base.get(name):
            if found[name] == base[name]:
                break
            raise InputError(
                f"{reader.path}: templates of {found.get('model', 'another recogniser')}, but "
                f"{options.model} unmasks those of {base.get('model')} ({name} differs)"
            )
    if options.only_masked and not np.any(reader.masked == 1):
        raise InputError(
            f"{reader.path}: no row is marked as masked; mfrkit embed marks those of faces from "
            "synth-mask, or with --detect-mask"
        )


def _load(model: str) -> Unmask:
    import torch

    network, _ = load_for_task(model, "unmasking")

    def change(templates: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = network(torch.from_numpy(templates)).numpy()
        return result

    return change


def _unmasked_attributes(reader: EmbeddingReader, card: ModelCard) -> dict[str, Any]:
    """Return what the file says of its vectors: whose space it is, and who moved them in it."""
    model = reader.attributes.get("model", "")
    return {
        **reader.attributes,
        "model": f"{model}+{card.name}" if model else card.name,
        "unmasked_by": card.name,
        "unmasked_by_sha256": card.sha256,
    }
