"""Finished pieces of an unfinished embedding file.

HDF5 has no journal: a process killed while it writes can leave a file that no longer opens. So a
running `embed` writes small complete files, each under its final name by an atomic rename, and
joins them at the end. A kill costs at most the piece in hand, and no row can be written twice.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embedding_rows import Rows, write_embeddings
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import remove_whole
from mfrkit.io.item import Item
from mfrkit.io.names import hidden_name
from mfrkit.stages.merge import COMMON_ATTRIBUTES
from mfrkit.stages.sink import Tally, fingerprint

PIECE_INPUTS = 4096
FIRST = "first_input_sha256"


class PieceStore:
    """The hidden folder beside an embedding file that is being made.

    Args:
        output: the embedding file.
        attributes: root attributes of the result, which a continued run must share.
        resume: continue what is there.
        force: throw away what is there, a finished file too.

    Attributes:
        attributes: those of the result, with what tells its inputs from others of their names.
        paths: files that hold what is done: the pieces, or the finished file.

    Raises:
        InputError: pieces are there and neither is asked for, or they were made differently.
    """

    def __init__(
        self, output: Path, attributes: dict[str, Any], *, resume: bool, force: bool
    ) -> None:
        self.folder = output.with_name(hidden_name(output.name, ".pieces"))
        self._output, self.attributes = output, attributes
        if force:
            output.unlink(missing_ok=True)  # before all: an earlier file is not this run's
            self.remove()
        elif self.folder.exists() and not resume:
            raise InputError(
                f"{output}: an unfinished run is there; --resume continues it, --force starts again"
            )
        self.paths = sorted(self.folder.glob("piece-*.h5"))
        if not self.paths and output.exists():
            self.paths = [output]  # finished: to be compared with what is asked for now
        for path in self.paths[:1]:
            with EmbeddingReader(path) as made:
                _check_same(output, made.attributes, attributes)

    def pending(self, items: Iterable[Item], done: Callable[[Item], None]) -> Iterator[Item]:
        """Yield the inputs behind the last piece.

        Args:
            items: all inputs.
            done: called with each input before them.

        Raises:
            InputError: those are not the inputs the pieces were made from.
        """
        inputs = iter(items)
        for number, (place, key) in enumerate(self._done()):
            item = next(inputs, None)
            if item is None or (item.position, item.record.key) != (place, key):
                found = item.record.key if item else "the end"
                raise InputError(
                    f"{self._output}: cannot resume, the inputs changed: expected {key!r}, "
                    f"found {found!r}; --force starts again"
                )
            if number == 0:
                self._check_first(item)
            done(item)
        for item in inputs:
            if FIRST not in self.attributes:
                self.attributes[FIRST] = fingerprint(item)
            yield item

    def _check_first(self, item: Item) -> None:
        """Refuse other files of the same names."""
        self.attributes[FIRST] = fingerprint(item)
        with EmbeddingReader(self.paths[0]) as made:
            if made.attributes.get(FIRST, self.attributes[FIRST]) != self.attributes[FIRST]:
                raise InputError(
                    f"{self._output}: was made from other files of these names; "
                    "--force starts again"
                )

    @property
    def is_finished(self) -> bool:
        """Whether the embedding file itself holds what is done."""
        return self.paths == [self._output]

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
        write_embeddings(path, [rows], rows.embeddings.shape[1], self.attributes)
        self.paths.append(path)

    def remove(self) -> None:
        """Delete the folder and all pieces."""
        remove_whole(self.folder)

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
    for name in (*COMMON_ATTRIBUTES, "mask_model_sha256", "shard"):
        if _plain(found.get(name)) != _plain(wanted.get(name)):
            raise InputError(
                f"{output}: was made with {name}={_plain(found.get(name))!r}, "
                f"not {_plain(wanted.get(name))!r}; --force starts again"
            )


def _plain(value: Any) -> Any:
    """Return an attribute as it is on both sides of HDF5."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
