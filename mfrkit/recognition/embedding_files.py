"""Embedding files for programs: everything a file holds, as arrays and lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.models.cards import ModelCard


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The N embeddings of a file.

    Attributes:
        vectors: (N, D) float32, of unit norm in files of `mfrkit embed`.
        keys: N names of pictures, as pair lists have them.
        identities: N names of people, empty where unknown.
        masked: (N,) int8: 1 wears a mask, 0 does not, -1 nobody looked.
        mask_types: N kinds of mask, empty where unknown.
        norms: (N,) float32, lengths before normalisation, NaN where unknown.
        skipped: pictures without an embedding -> why.
        attributes: what made the file: `model`, `weights_sha256`, `flip` and more.
    """

    vectors: NDArray[np.float32]
    keys: list[str]
    identities: list[str]
    masked: NDArray[np.int8]
    mask_types: list[str]
    norms: NDArray[np.float32]
    skipped: Mapping[str, str]
    attributes: Mapping[str, Any]


def read_embeddings(path: str | Path) -> Embeddings:
    """Read a whole embedding file into memory.

    Args:
        path: an HDF5 file that `mfrkit embed` wrote, or any with datasets `embeddings` and `keys`.

    Raises:
        InputError: missing, not such a file, or marked unfinished.
    """
    with EmbeddingReader(Path(path)) as reader:
        rows = reader.block(0, reader.count)
        return Embeddings(
            vectors=rows.embeddings,
            keys=rows.keys,
            identities=rows.identities,
            masked=rows.masked,
            mask_types=rows.mask_type,
            norms=rows.norms,
            skipped=reader.skipped,
            attributes=reader.attributes,
        )


def check_made_by(path: Path, card: ModelCard) -> None:
    """Refuse embeddings of another model: their similarities mean nothing.

    Raises:
        InputError: not an embedding file, or one of another model.
    """
    with EmbeddingReader(path) as reader:
        made, dim = reader.attributes, reader.dim
    digest = made.get("weights_sha256")
    if (digest and card.sha256 and digest != card.sha256) or dim != (card.embedding_dim or dim):
        raise InputError(
            f"{path}: made by {made.get('model') or 'another model'} ({dim} values), not by "
            f"{card.name}; name that model with --model, or embed again"
        )
