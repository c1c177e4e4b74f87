"""Fuse recognisers: their embedding files side by side as one.

How, and why the cosine of two rows is the mean of the recognisers' cosines: `models/spaces.py`.
Everything that reads embedding files reads the result.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embedding_rows import Rows, write_embeddings
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing
from mfrkit.metrics.blocks import unit_rows
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
        attributes = _attributes(readers, shares)
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


def _attributes(readers: Sequence[EmbeddingReader], shares: Sequence[float]) -> dict[str, Any]:
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
