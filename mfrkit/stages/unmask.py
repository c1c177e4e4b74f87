"""Unmask the templates of an embedding file: HDF5 in, HDF5 out, the recogniser not needed.

An unmasking network stays a file of its own and is never welded to its recogniser. So there is one
way to use it, whether the recogniser is open or closed, and it sees what it was trained on:
templates averaged over mirror images, which one piece with the recogniser would not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embedding_rows import Rows, write_embeddings
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing
from mfrkit.models.cards import ModelCard
from mfrkit.models.model_files import read_card
from mfrkit.models.registry import load_for_task

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

        count = write_embeddings(options.output, blocks(), reader.dim, _attributes(reader, card))
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


def _attributes(reader: EmbeddingReader, card: ModelCard) -> dict[str, Any]:
    """Return what the file says of its vectors: whose space it is, and who moved them in it."""
    model = reader.attributes.get("model", "")
    return {
        **reader.attributes,
        "model": f"{model}+{card.name}" if model else card.name,
        "unmasked_by": card.name,
        "unmasked_by_sha256": card.sha256,
    }
