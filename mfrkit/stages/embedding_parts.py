"""Join embedding files into one: the shards of a run, or the pieces an `embed` run leaves behind.

Rows are put in the order of their positions among the inputs. Only the positions are held in
memory (16 bytes a row); vectors pass through in blocks.

HDF5 has no journal: a process killed while it writes can leave a file that no longer opens. So a
running `embed` writes small complete files, each under its final name by an atomic rename, and
joins them at the end. A kill costs at most the piece in hand, and no row can be written twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.config import Shard
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.files import hidden_name, refuse_existing, remove_whole
from mfrkit.io.item import Item
from mfrkit.stages.sink import Tally, fingerprint

BLOCK_ROWS = 8192
# Vectors made with different values of these cannot be compared with each other.
COMMON_ATTRIBUTES = ("model", "weights_sha256", "input_size", "flip")


@dataclass(frozen=True)
class MergeOptions:
    """What to join, and where to.

    Attributes:
        parts: embedding files.
        output: the joined file.
        force: replace an earlier result.
    """

    parts: list[Path]
    output: Path
    force: bool = False


def merge(options: MergeOptions, console: Console) -> int:
    """Join embedding files; shards must be all there, other files follow each other as given.

    Returns:
        The number of rows written.

    Raises:
        InputError: parts of different models, a missing or repeated shard, repeated keys, or an
            output that exists.
    """
    refuse_existing(options.output, force=options.force)
    if len({part.resolve() for part in options.parts}) != len(options.parts):
        raise InputError("a part is named twice")
    attributes, shards = [], []
    for part in options.parts:
        with EmbeddingReader(part) as reader:
            attributes.append({**reader.attributes, "dim": reader.dim})
            shards.append(str(reader.attributes.get("shard", "")))
    check_alike(options.parts, attributes)
    _check_shards(options.parts, shards)
    _check_keys(options.parts)
    common = {name: value for name, value in attributes[0].items() if name != "shard"}
    count = join(options.parts, options.output, common, in_turn=not any(shards))
    console.info(f"merge: {count} rows from {len(options.parts)} parts -> {options.output}")
    return count


def join(parts: Sequence[Path], output: Path, attributes: dict[str, Any], *, in_turn: bool) -> int:
    """Write the rows of all parts to one file, by position.

    Args:
        parts: embedding files whose positions ascend.
        output: the file to write.
        attributes: root attributes of the result, and its `dim`.
        in_turn: renumber positions so that each part follows the one before it.

    Returns:
        The number of rows.
    """
    carried = {name: value for name, value in attributes.items() if name != "dim"}
    return write_embeddings(output, _blocks(parts, in_turn), int(attributes["dim"]), carried)


def _blocks(parts: Sequence[Path], in_turn: bool) -> Iterator[Rows]:
    if not parts:
        return
    places = [_positions(part, "positions") for part in parts]
    lost = [_positions(part, "skipped_positions") for part in parts]
    shifts = _shifts(places, lost) if in_turn else [0] * len(parts)
    owner, row = _ordered(places, shifts)
    for start in range(0, len(owner), BLOCK_ROWS):
        yield _gather(
            parts, shifts, owner[start : start + BLOCK_ROWS], row[start : start + BLOCK_ROWS]
        )
    yield _skipped(parts, lost, shifts)


def _positions(part: Path, field: str) -> NDArray[np.int64]:
    with EmbeddingReader(part) as reader:
        end = reader.count if field == "positions" else reader.skipped_count
        return reader.positions(field, 0, end)


def _shifts(places: list[NDArray[np.int64]], lost: list[NDArray[np.int64]]) -> list[int]:
    ends = [max([-1, *a[-1:], *b[-1:]]) + 1 for a, b in zip(places, lost, strict=True)]
    return [int(shift) for shift in np.cumsum([0, *ends[:-1]])]


def _ordered(
    places: list[NDArray[np.int64]], shifts: list[int]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return, in position order, which part each row comes from and its row there."""
    owner = np.repeat(np.arange(len(places), dtype=np.int32), [len(p) for p in places])
    row = np.concatenate([np.arange(len(p)) for p in places])
    place = np.concatenate([p + s for p, s in zip(places, shifts, strict=True)])
    order = np.argsort(place, kind="stable")
    if np.any(np.diff(place[order]) == 0):
        raise InputError("the parts overlap: two rows have the same position among the inputs")
    return owner[order], row[order]


def _gather(
    parts: Sequence[Path], shifts: list[int], owner: NDArray[np.int32], row: NDArray[np.int64]
) -> Rows:
    """Read one output block: from each part a run of consecutive rows, then interleaved."""
    runs, places = [], []
    for index in np.unique(owner):
        mine = np.flatnonzero(owner == index)
        with EmbeddingReader(parts[index]) as reader:
            run = reader.block(int(row[mine[0]]), int(row[mine[-1]]) + 1)
        runs.append(replace(run, positions=run.positions + shifts[index]))
        places.append(mine)
    order = np.argsort(np.concatenate(places), kind="stable")
    return concatenate(runs, order)


def concatenate(runs: Sequence[Rows], order: NDArray[np.intp]) -> Rows:
    """Join rows and arrange them; skipped inputs are left out."""

    def texts(name: str) -> list[str]:
        joined = [text for run in runs for text in getattr(run, name)]
        return [joined[place] for place in order]

    def numbers(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(run, name) for run in runs])[order]

    return Rows(
        embeddings=numbers("embeddings"),
        keys=texts("keys"),
        identities=texts("identities"),
        norms=numbers("norms"),
        masked=numbers("masked"),
        mask_type=texts("mask_type"),
        positions=numbers("positions"),
        skipped_keys=[],
        skipped_reasons=[],
        skipped_positions=np.empty(0, np.int64),
    )


def _skipped(parts: Sequence[Path], lost: list[NDArray[np.int64]], shifts: list[int]) -> Rows:
    places = np.concatenate([p + s for p, s in zip(lost, shifts, strict=True)])
    keys, reasons = [], []
    for part in parts:
        with EmbeddingReader(part) as reader:
            keys += reader.texts("skipped_keys", 0, reader.skipped_count)
            reasons += reader.texts("skipped_reasons", 0, reader.skipped_count)
    order = np.argsort(places, kind="stable")
    return replace(
        Rows.empty(),
        skipped_keys=[keys[place] for place in order],
        skipped_reasons=[reasons[place] for place in order],
        skipped_positions=places[order],
    )


def check_alike(parts: Sequence[Path], attributes: Sequence[dict[str, Any]]) -> None:
    """Refuse files whose vectors cannot be compared.

    Args:
        parts: the files.
        attributes: root attributes of each, and its `dim`.

    Raises:
        InputError: two of them differ.
    """
    for part, found in zip(parts[1:], attributes[1:], strict=True):
        for name in (*COMMON_ATTRIBUTES, "dim"):
            if str(found.get(name)) != str(attributes[0].get(name)):
                raise InputError(
                    f"{part}: {name} is {found.get(name)}, but {attributes[0].get(name)} in "
                    f"{parts[0]}; their vectors cannot be compared"
                )


def _check_shards(parts: list[Path], shards: list[str]) -> None:
    if not any(shards):
        return
    known = [_shard_of(part, text) for part, text in zip(parts, shards, strict=True)]
    for place, (part, shard) in enumerate(zip(parts, known, strict=True)):
        if shard.count != known[0].count or shard in known[:place]:
            raise InputError(
                f"{part}: is shard {shard}, which is not of this run of {known[0].count}, "
                "or given twice"
            )
    count = known[0].count
    missing = (s for i in range(1, count + 1) if (s := Shard(i, count)) not in known)
    shown = ", ".join(map(str, islice(missing, 3)))
    if shown:
        raise InputError(f"shard {shown} is missing among the parts")


def _shard_of(part: Path, text: str) -> Shard:
    """Return which shard a part says it is.

    Raises:
        InputError: none of its own, while others are.
    """
    try:
        return Shard.parse(text)
    except InputError as error:
        kind = f"shard {text!r}" if text else "no shard"
        raise InputError(f"{part}: is {kind}, beside shards of a run") from error


def _check_keys(parts: list[Path]) -> None:
    seen: set[int] = set()
    for part in parts:
        with EmbeddingReader(part) as reader:
            for key in reader.each_key():
                if hash(key) in seen:
                    raise InputError(f"{part}: key {key!r} appears twice among the parts")
                seen.add(hash(key))


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
