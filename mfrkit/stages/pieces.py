"""Finished pieces of an unfinished embedding file.

HDF5 has no journal: a process killed while it writes can leave a file that no longer opens. So a
running `embed` writes small complete files, each under its final name by an atomic rename, and
joins them at the end. A kill costs at most the piece in hand, and no row can be written twice.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embedding_rows import Rows, write_embeddings
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import write_whole
from mfrkit.io.item import Item
from mfrkit.stages.sink import Tally

PIECE_INPUTS = 4096


class PieceStore:
    """The hidden folder beside an embedding file that is being made.

    Args:
        output: the embedding file.
        attributes: root attributes of the result, which a continued run must share.
        resume: continue what is there.
        force: throw away what is there.

    Raises:
        InputError: pieces are there and neither is asked for, or they were made differently.
    """

    def __init__(
        self, output: Path, attributes: dict[str, Any], *, resume: bool, force: bool
    ) -> None:
        self.folder = output.with_name(f".{output.name}.pieces")
        self._attributes = attributes
        recipe = self.folder / "run.json"
        if force:
            self.remove()
        elif self.folder.exists() and not resume:
            raise InputError(
                f"{output}: an unfinished run is there; --resume continues it, --force starts again"
            )
        elif recipe.exists():
            _check_same(output, json.loads(recipe.read_bytes()), attributes)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(recipe, json.dumps(attributes).encode())
        self.paths = sorted(self.folder.glob("piece-*.h5"))

    def pending(self, items: Iterable[Item], done: Callable[[Item], None]) -> Iterator[Item]:
        """Yield the inputs behind the last piece.

        Args:
            items: all inputs.
            done: called with each input before them.

        Raises:
            InputError: those are not the inputs the pieces were made from.
        """
        inputs = iter(items)
        for place, key in self._done():
            item = next(inputs, None)
            if item is None or (item.position, item.record.key) != (place, key):
                found = item.record.key if item else "the end"
                raise InputError(
                    f"{self.folder}: cannot resume, the inputs changed: expected {key!r}, "
                    f"found {found!r}; --force starts again"
                )
            done(item)
        yield from inputs

    def tally(self) -> Tally:
        """Count the inputs the pieces cover."""
        tally = Tally()
        for path in self.paths:
            with EmbeddingReader(path) as piece:
                tally.written += piece.count
                for reason in piece.texts("skipped_reasons", 0, piece.skipped_count):
                    tally.add_skipped(reason)
        return tally

    def add(self, rows: Rows) -> None:
        """Write one more piece."""
        path = self.folder / f"piece-{len(self.paths):06d}.h5"
        write_embeddings(path, [rows], rows.embeddings.shape[1], self._attributes)
        self.paths.append(path)

    def remove(self) -> None:
        """Delete the folder and all pieces."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Leave no trace of a run that did nothing."""
        if not self.paths:
            self.remove()

    def _done(self) -> Iterator[tuple[int, str]]:
        """Yield position and key of every input the pieces cover, in input order."""
        for path in self.paths:
            with EmbeddingReader(path) as piece:
                kept, lost = piece.count, piece.skipped_count
                places = np.concatenate(
                    [
                        piece.positions("positions", 0, kept),
                        piece.positions("skipped_positions", 0, lost),
                    ]
                )
                keys = piece.texts("keys", 0, kept) + piece.texts("skipped_keys", 0, lost)
            order: NDArray[np.intp] = np.argsort(places)
            yield from ((int(places[at]), keys[at]) for at in order)


def _check_same(output: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise InputError(
                f"{output}: the unfinished run used {name}={found.get(name)!r}, "
                f"not {wanted.get(name)!r}; --force starts again"
            )
