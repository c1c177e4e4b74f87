"""The teachers' templates of a whole data set, computed once: the clean side never changes.

The file is an embedding file like any other, one row per readable crop; `positions` are places in
the data set. A template is that of the crop as it lies on disk, averaged with its mirror image.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.images import Packed
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.recogniser import Recogniser
from mfrkit.stages.flow import batched, ordered_map
from mfrkit.training.crops import read_crop, read_each
from mfrkit.training.data import TrainSet

_BATCH = 64


class TeacherCache:
    """Look templates up by place in the data set.

    Raises:
        InputError: the file was made for other teachers or other data, by its `fingerprint`.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        with EmbeddingReader(path) as reader:
            if reader.attributes.get("fingerprint") != fingerprint:
                raise InputError(
                    f"{path}: holds templates of other teachers or other data; "
                    "remove it or name another file"
                )
            positions = reader.positions("positions", 0, reader.count)
            self._templates = reader.rows(np.arange(reader.count))
            people = reader.identities
        self._centres = _means_of_people(self._templates, people)
        self._row = {position: row for row, position in enumerate(positions.tolist())}

    def centres(self, index: Tensor) -> Tensor:
        """Return the (B, D) unit means of the templates of each face's person, or of it alone."""
        return torch.from_numpy(self._centres[self._rows(index)])

    def __call__(self, index: Tensor) -> Tensor:
        """Return the (B, D) templates of (B,) places in the data set.

        Raises:
            InputError: a crop has no template.
        """
        return torch.from_numpy(self._templates[self._rows(index)])

    def _rows(self, index: Tensor) -> list[int]:
        rows = [self._row.get(place, -1) for place in index.tolist()]
        if min(rows) < 0:
            raise InputError("a crop was unreadable when the teacher cache was made; make it anew")
        return rows


def _means_of_people(templates: NDArray[np.float32], people: list[str]) -> NDArray[np.float32]:
    """Return for each (N, D) template the unit mean of all of the same person; "" is nobody."""
    named = [person or f"\0{row}" for row, person in enumerate(people)]
    _, place = np.unique(named, return_inverse=True)
    sums = np.zeros((place.max(initial=-1) + 1, templates.shape[1]), np.float32)
    np.add.at(sums, place, templates)
    means = sums[place]
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return means / np.maximum(lengths, np.finfo(np.float32).tiny)


def fingerprint(teachers: list[Recogniser], data: TrainSet) -> str:
    """Return what a cache belongs to: the teachers' weights and the names of the crops, hashed."""
    digest = hashlib.sha256()
    for teacher in teachers:
        for tensor in teacher.state_dict().values():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for face in data.faces:
        folder = face.path.archive if isinstance(face.path, Packed) else face.path.parent
        digest.update(f"{folder.name}/{face.record.key}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def write_cache(
    path: Path, teachers: list[Recogniser], data: TrainSet, workers: int, console: Console
) -> None:
    """Write the templates of every crop of a data set."""
    size = teachers[0].card.input_size or (112, 112)
    dim = sum(teacher.card.embedding_dim or 0 for teacher in teachers)
    attributes = {
        "model": ", ".join(teacher.card.name for teacher in teachers),
        "flip": True,
        "fingerprint": fingerprint(teachers, data),
    }
    with console.progress("teacher", len(data)) as bar:

        def blocks() -> Iterator[Rows]:
            for block in embed_all(teachers, data, size, workers):
                bar.update(len(block.keys) + len(block.skipped_keys))
                yield block

        count = write_embeddings(path, blocks(), dim, attributes)
    console.info(f"{path}: templates of {count} crops")


def embed_all(
    teachers: list[Recogniser], data: TrainSet, size: tuple[int, int], workers: int
) -> Iterator[Rows]:
    """Embed every crop of a data set with every teacher, averaged with its mirror image.

    Yields:
        Some rows at a time, in order; their embeddings are those of the teachers in a row. Crops of
        another (height, width) than `size` are skipped.
    """

    def load(places: list[int]) -> tuple[list[int], list[int], NDArray[np.uint8]]:
        faces = [data.faces[place] for place in places]
        kept, crops, _ = read_each(faces, partial(read_crop, size=size))
        good = [places[at] for at in kept]
        pixels = [np.empty((0, *size, 3), np.uint8), *(crop.pixels[None] for crop in crops)]
        return good, sorted(set(places) - set(good)), np.concatenate(pixels)

    with ExitStack() as stack:
        engines = [stack.enter_context(EmbedEngine(each, workers=workers)) for each in teachers]
        places = batched(range(len(data)), _BATCH)
        for good, bad, crops in ordered_map(load, places, workers=workers):
            found = [engine(crops) for engine in engines]
            vectors = np.concatenate([each.vectors for each in found], 1) / np.sqrt(len(found))
            yield Rows(
                embeddings=vectors.astype(np.float32),
                keys=[data.faces[place].record.key for place in good],
                identities=[data.faces[place].record.identity or "" for place in good],
                norms=np.mean([each.norms for each in found], 0, dtype=np.float32),
                masked=np.full(len(good), -1, np.int8),
                mask_type=[""] * len(good),
                positions=np.array(good, np.int64),
                skipped_keys=[data.faces[place].record.key for place in bad],
                skipped_reasons=["unreadable"] * len(bad),
                skipped_positions=np.array(bad, np.int64),
            )
