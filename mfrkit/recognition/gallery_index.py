"""The embeddings of a gallery of photos, kept in a file and brought up to date when photos change.

The file is an embedding file as `mfrkit embed` writes it, with a stamp beside each photo: its
size and when it was last written. A photo with the stamp it had keeps its embedding.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

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


class _Result(NamedTuple):
    """What a photo gave: a vector, its length before and a mask; or why none."""

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
        InputError: nothing there, nobody with a usable face, embeddings of another model, or no
            faiss.
        OSError: the index cannot be written.
    """
    if embedder is None or is_embedding_file(source):
        path = Path(source)
        check_made_by(path, card)
    else:
        path = index_path(source) if index is None else index
        update_index(source, embedder, path, console)
    gallery = gallery_in(path)
    if not approximate:
        return gallery
    return replace(gallery, finder=Approximate(gallery.templates, path.with_suffix(".faiss")))


def index_path(source: str) -> Path:
    """Say where the index of a gallery lies: beside it.

    Example:
        >>> index_path("people/staff/").as_posix()
        'people/staff.index.h5'
    """
    path = Path(source)
    path = path if path.name else path.resolve()
    return path.with_name(f"{path.stem if path.is_file() else path.name}.index.h5")


def update_index(source: str, embedder: Embedder, path: Path, console: Console) -> None:
    """Embed the main face of each photo of a gallery unless a file has it already.

    Args:
        source: folder, manifest, picture, or archive.
        embedder: embeds what is new.
        path: the index; made or replaced as needed.
        console: narration and progress.

    Raises:
        InputError: no photos, or a file of another kind under the index's name.
        OSError: the index cannot be written.
    """
    photos = open_source(source)
    state = _state_of(photos, source)
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError(f"{path}: cannot be written there; name another place with --index")
    with ExitStack() as stack:
        old = _Old.open(path, embedder, stack)
        if old is not None and old.state == state:
            console.info(f"{path}: {old.reader.count} embeddings, all up to date")
            return
        total = photos.count() if console.shows_progress else None
        stamps: dict[str, list[int]] = {_STAMPS: [], _SKIPPED_STAMPS: []}
        with replacing(path) as temporary:
            with console.progress("enrol", total) as bar:
                blocks = _blocks(photos, embedder, old, stamps, bar.update)
                dim = embedder.card.embedding_dim or 0
                count = write_embeddings(temporary, blocks, dim, dict(embedder.origin))
            with h5py.File(temporary, "r+") as file:
                for name, values in stamps.items():
                    file.create_dataset(name, data=np.array(values, np.int64))
                file.attrs[_STATE] = state
    kept = f"; {old.reused} photos had not changed" if old is not None else ""
    console.info(f"{path}: {count} embeddings{kept}")


def read_stamps(reader: EmbeddingReader) -> list[list[int]]:
    """Return the stamps of the photos in an index: of those with a vector, and of the others.

    Raises:
        InputError: damaged.
    """
    stamps = [reader.integers(name).tolist() for name in (_STAMPS, _SKIPPED_STAMPS)]
    if [*map(len, stamps)] != [reader.count, len(reader.skipped)]:
        raise InputError(f"{reader.path}: damaged, its stamps are not one a photo; remove it")
    return stamps


class _Old:
    """An index made earlier.

    Attributes:
        reader: its embeddings.
        state: of all photos it was made of.
        known: key -> stamp, row (-1 without a vector), reason.
        reused: how many photos were found in it.
    """

    def __init__(self, reader: EmbeddingReader, state: str, stamps: list[list[int]]) -> None:
        self.reader, self.state, self.reused = reader, state, 0
        self._norms, self._masked = reader.norms, reader.masked
        keys = reader.texts("keys", 0, reader.count)
        self.known: dict[str, tuple[int, int, str]] = {
            key: (stamp, row, "")
            for row, (key, stamp) in enumerate(zip(keys, stamps[0], strict=True))
        }
        for (key, reason), stamp in zip(reader.skipped.items(), stamps[1], strict=True):
            self.known[key] = (stamp, -1, reason)

    @classmethod
    def open(cls, path: Path, embedder: Embedder, stack: ExitStack) -> "_Old | None":
        """Open an index; None if there is none, or it was made in another way.

        Raises:
            InputError: a file that is no index, or a damaged one.
        """
        if not path.exists():
            return None
        reader = stack.enter_context(EmbeddingReader(path))
        if _STATE not in reader.attributes:
            raise InputError(
                f"{path}: embeddings, but no index of a gallery; name another file with --index"
            )
        wanted = {name: np.asarray(value).tolist() for name, value in embedder.origin.items()}
        made = {name: np.asarray(reader.attributes.get(name)).tolist() for name in wanted}
        if made != wanted or reader.dim != (embedder.card.embedding_dim or reader.dim):
            return None
        return cls(reader, str(reader.attributes[_STATE]), read_stamps(reader))

    def results(self, items: list[tuple[Item, int]]) -> dict[int, _Result]:
        """Return what is known of photos that have not changed, by position."""
        found = {}
        for item, stamp in items:
            old_stamp, row, reason = self.known.get(item.record.key, (None, -1, ""))
            if old_stamp == stamp:
                found[item.position] = (row, reason)
        self.reused += len(found)
        rows = np.array([row for row, _ in found.values() if row >= 0], np.int64)
        vectors = dict(zip(rows.tolist(), self.reader.rows(rows), strict=True))
        return {
            position: _Result(reason=reason)
            if row < 0
            else _Result(vectors[row], float(self._norms[row]), int(self._masked[row]))
            for position, (row, reason) in found.items()
        }


def _blocks(
    photos: Iterable[Item],
    embedder: Embedder,
    old: _Old | None,
    stamps: dict[str, list[int]],
    tell: Any,
) -> Iterator[Rows]:
    """Yield the rows of all photos, and note the stamp of each."""
    for batch in batched(((item, _stamp(item)) for item in photos), _BLOCK):
        results = {} if old is None else old.results(batch)
        fresh = [item for item, _ in batch if item.position not in results]
        for item, seen in zip(fresh, look(read_items(fresh, embedder), embedder), strict=True):
            if not seen.faces:
                results[item.position] = _Result(reason=seen.reason or "")
                continue
            face = seen.faces[0]
            results[item.position] = _Result(face.embedding, face.norm, int(face.masked))
        for item, stamp in batch:
            has_vector = results[item.position].vector is not None
            stamps[_STAMPS if has_vector else _SKIPPED_STAMPS].append(stamp)
        tell(len(batch))
        yield _rows([(item, results[item.position]) for item, _ in batch], embedder)


def _rows(results: list[tuple[Item, _Result]], embedder: Embedder) -> Rows:
    kept = [(item, found) for item, found in results if found.vector is not None]
    lost = [(item, found) for item, found in results if found.vector is None]
    dim = embedder.card.embedding_dim or 0
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
    """Return one name for all photos, their people and their stamps."""
    digest, empty = blake2b(digest_size=16), True
    for item in photos:
        empty = False
        line = f"{item.record.key}\0{item.record.identity}\0{_stamp(item)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    if empty:
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
        found = os.stat(path)
    except OSError:
        return 0
    text = f"{found.st_size} {found.st_mtime_ns} {place}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
