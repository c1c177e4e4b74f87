"""The embeddings of a gallery of photos, kept in a file and brought up to date when photos change.

The file is an embedding file as `mfrkit embed` writes it, with a stamp beside each photo: its
size and when it was last written. A photo with the stamp it had keeps its embedding.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.files import replacing
from mfrkit.io.images import Packed
from mfrkit.io.item import Item
from mfrkit.io.source import open_source
from mfrkit.models.cards import ModelCard
from mfrkit.recognition.gallery import Approximate, Gallery, check_made_by, gallery_in, person_of
from mfrkit.recognition.look import Embedder, look, read_items
from mfrkit.recognition.options import is_embedding_file
from mfrkit.stages.flow import batched

_BLOCK = 256  # photos written at a time
_STAMPS, _SKIPPED_STAMPS, _STATE = "stamps", "skipped/stamps", "photos"


class _Photo(NamedTuple):
    """What a photo gave: a vector, its length before and a mask; or why none."""

    stamp: int
    vector: NDArray[np.float32] | None = None
    norm: float = 0.0
    masked: int = -1
    reason: str = ""


def enrol(
    source: str,
    card: ModelCard,
    embedder: Embedder | None,
    console: Console,
    *,
    index: Path | None = None,
    approximate: bool = False,
) -> Gallery:
    """Make a template of each person of a gallery.

    Args:
        source: folder, manifest, picture or archive of photos, or an embedding file.
        card: of the model.
        embedder: embeds photos; None will do for an embedding file.
        console: narration and progress.
        index: where the embeddings of photos are kept; None: beside them.
        approximate: look templates up through a faiss index, kept beside the embeddings.

    Raises:
        InputError: nothing there, nobody with a usable face, another model, or no faiss.
        OSError: the index cannot be written.
    """
    if embedder is None or is_embedding_file(source):
        path = Path(source)
        check_made_by(path, card)
    else:
        path = index_path(source) if index is None else index
        _update_index(source, embedder, path, console)
    gallery = gallery_in(path)
    if not approximate:
        return gallery
    return replace(gallery, finder=Approximate(gallery.templates, path.with_suffix(".faiss")))


def index_path(source: str) -> Path:
    """Say where the index of a gallery lies: beside it, `people/staff.index.h5`."""
    path = Path(source)
    path = path if path.name else path.resolve()
    return path.with_name(f"{path.stem if path.is_file() else path.name}.index.h5")


def _update_index(source: str, embedder: Embedder, path: Path, console: Console) -> None:
    """Embed the main face of each photo of a gallery unless the file has it already."""
    photos = open_source(source)
    state = _state_of(photos, source)
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError(f"{path}: cannot be written there; name another place with --index")
    with ExitStack() as stack:
        reader = _opened(path, embedder, stack)
        if reader is not None and reader.attributes[_STATE] == state:
            console.info(f"{path}: {reader.count} embeddings, all up to date")
            return
        update = _Update(embedder, {} if reader is None else _photos_in(reader))
        total = photos.count() if console.shows_progress else None
        with replacing(path) as temporary:
            with console.progress("enrol", total) as bar:
                blocks = update.blocks(photos, bar.update)
                dim = embedder.card.embedding_dim or 0
                count = write_embeddings(temporary, blocks, dim, dict(embedder.origin))
            with h5py.File(temporary, "r+") as file:
                for name, values in update.stamps.items():
                    file.create_dataset(name, data=np.array(values, np.int64))
                file.attrs[_STATE] = state
    kept = f"; {update.reused} photos had not changed" if reader is not None else ""
    console.info(f"{path}: {count} embeddings{kept}")


def read_stamps(reader: EmbeddingReader) -> list[list[int]]:
    """Return the stamps of the photos in an index: of those with a vector, and of the others."""
    stamps = [reader.integers(name).tolist() for name in (_STAMPS, _SKIPPED_STAMPS)]
    if [*map(len, stamps)] != [reader.count, len(reader.skipped)]:
        raise InputError(f"{reader.path}: damaged, its stamps are not one a photo; remove it")
    return stamps


def _opened(path: Path, embedder: Embedder, stack: ExitStack) -> EmbeddingReader | None:
    """Open an index made earlier; None if there is none, or it was made in another way."""
    if not path.exists():
        return None
    reader = stack.enter_context(EmbeddingReader(path))
    if _STATE not in reader.attributes:
        raise InputError(
            f"{path}: embeddings, but no index of a gallery; name another file with --index"
        )
    read_stamps(reader)
    wanted = {name: np.asarray(value).tolist() for name, value in embedder.origin.items()}
    made = {name: np.asarray(reader.attributes.get(name)).tolist() for name in wanted}
    is_alike = made == wanted and reader.dim == (embedder.card.embedding_dim or reader.dim)
    return reader if is_alike else None


def _photos_in(reader: EmbeddingReader) -> dict[str, _Photo]:
    stamps, skipped_stamps = read_stamps(reader)
    rows, skipped = reader.block(0, reader.count), reader.skipped.items()
    values = zip(stamps, rows.embeddings, rows.norms.tolist(), rows.masked.tolist(), strict=True)
    return dict(zip(rows.keys, itertools.starmap(_Photo, values), strict=True)) | {
        key: _Photo(stamp, reason=reason)
        for (key, reason), stamp in zip(skipped, skipped_stamps, strict=True)
    }


class _Update:
    """Makes the rows of an index; `stamps` and `reused` tell of those that were made so far."""

    def __init__(self, embedder: Embedder, known: Mapping[str, _Photo]) -> None:
        self._embedder, self._known = embedder, known
        self.stamps: dict[str, list[int]] = {_STAMPS: [], _SKIPPED_STAMPS: []}
        self.reused = 0

    def blocks(self, photos: Iterable[Item], tell: Callable[[int], object]) -> Iterator[Rows]:
        for batch in batched(photos, _BLOCK):
            found = {item.position: self._known.get(item.record.key) for item in batch}
            stamps = {item.position: _stamp(item) for item in batch}
            results = {at: p for at, p in found.items() if p and p.stamp == stamps[at]}
            self.reused += len(results)
            fresh = [item for item in batch if item.position not in results]
            pictures = read_items(fresh, self._embedder)
            for item, seen in zip(fresh, look(pictures, self._embedder), strict=True):
                photo = _Photo(stamps[item.position], reason=seen.reason or "")
                if seen.faces:
                    face = seen.faces[0]
                    photo = _Photo(photo.stamp, face.embedding, face.norm, int(face.masked))
                results[item.position] = photo
            tell(len(batch))
            yield self._rows([(item, results[item.position]) for item in batch])

    def _rows(self, results: Sequence[tuple[Item, _Photo]]) -> Rows:
        kept = [(item, found) for item, found in results if found.vector is not None]
        lost = [(item, found) for item, found in results if found.vector is None]
        self.stamps[_STAMPS] += [found.stamp for _, found in kept]
        self.stamps[_SKIPPED_STAMPS] += [found.stamp for _, found in lost]
        dim = self._embedder.card.embedding_dim or 0
        return Rows(
            embeddings=np.array([found.vector for _, found in kept], np.float32).reshape(-1, dim),
            keys=[item.record.key for item, _ in kept],
            identities=[item.record.identity or person_of(item.record.key) for item, _ in kept],
            norms=np.array([found.norm for _, found in kept], np.float32),
            masked=np.array([found.masked for _, found in kept], np.int8),
            mask_type=[""] * len(kept),
            positions=np.array([item.position for item, _ in kept], np.int64),
            skipped_keys=[item.record.key for item, _ in lost],
            skipped_reasons=[found.reason for _, found in lost],
            skipped_positions=np.array([item.position for item, _ in lost], np.int64),
        )


def _state_of(photos: Iterable[Item], source: str) -> str:
    digest, item = blake2b(digest_size=16), None
    for item in photos:
        line = f"{item.record.key}\0{item.record.identity}\0{_stamp(item)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    if item is None:
        raise InputError(f"{source}: no pictures found")
    return digest.hexdigest()


def _stamp(item: Item) -> int:
    """Return a number that changes when a photo does."""
    if item.path is None:
        return 0
    if isinstance(item.path, Packed):
        path, place = item.path.archive, item.path.offset
    else:
        path, place = item.path, 0
    try:
        found = path.stat()
    except OSError:
        return 0
    text = f"{found.st_size} {found.st_mtime_ns} {place}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
