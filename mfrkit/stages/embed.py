"""Turn aligned faces into embeddings: crops in, one HDF5 file out, rows in input order.

This module checks and drives; `mfrkit.stages.embed_worker` does the work and loads torch for it, so
that a wrong argument is refused at once.

HDF5 has no journal: a process killed while it writes can leave a file that no longer opens. So a
running `embed` writes small complete files, each under its final name by an atomic rename, and
joins them at the end. A kill costs at most the piece in hand, and no row can be written twice.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, Progress
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.files import held, hidden_name, refuse_existing, remove_whole
from mfrkit.io.images import Packed
from mfrkit.io.item import Item, Source, root_of
from mfrkit.io.manifest import END, Record
from mfrkit.io.source import open_source
from mfrkit.models.cards import ASSUMED, ModelCard
from mfrkit.models.loading import is_completed, is_foreign
from mfrkit.models.registry import read_card
from mfrkit.stages.flow import batched, isolated
from mfrkit.stages.options import EmbedOptions
from mfrkit.stages.run import announce, check_skipped, expected_total, first_or_fail, own_share
from mfrkit.stages.sink import Tally, fingerprint
from mfrkit.stages.vectors import COMMON_ATTRIBUTES, join

if TYPE_CHECKING:
    from mfrkit.models.recogniser import Recogniser
    from mfrkit.stages.embed_worker import EmbeddedInput


def embed(options: EmbedOptions, console: Console) -> Tally:
    """Embed every crop of a source.

    Raises:
        InputError: no inputs, an unusable model, or an output that exists.
        PartialError: too many inputs were skipped; the file is complete all the same.
    """
    run, output = options.run, options.output
    refuse_existing(output, force=run.force or run.resume)
    inputs = open_source(options.source)
    if run.dry_run:
        announce("embed", inputs, output, {"model": options.model}, run, console)
        return Tally()
    first_or_fail(inputs, options.source)
    card, load = _find_model(options, console)
    with held(output, output.with_name(hidden_name(output.name, ".pieces.lock"))):
        attributes = _attributes(options, card)
        store = PieceStore(output, attributes, resume=run.resume, force=run.force)
        if store.is_finished:
            tally = _check_finished(inputs, store, options, console)
        else:
            tally = _embed_all(inputs, store, load, options, console)
    console.record(END)
    check_skipped(tally, run)
    return tally


def _check_finished(
    inputs: Source, store: "PieceStore", options: EmbedOptions, console: Console
) -> Tally:
    """See that a finished file was made of these inputs, and pass their records on."""
    mine = own_share(inputs, options.run)
    more = next(store.pending(mine, lambda item: _pass_on(item, item.record, console)), None)
    store.remove()
    if more is not None:
        raise InputError(
            f"{options.output}: is finished and lacks {more.record.key!r}; --force starts again"
        )
    console.info(f"{options.output}: complete already")
    return Tally()


def _embed_all(
    inputs: Source,
    store: "PieceStore",
    load: "Callable[[], Recogniser]",
    options: EmbedOptions,
    console: Console,
) -> Tally:
    """Embed what the store does not hold yet, piece by piece, and join the pieces."""
    from mfrkit.stages.embed_worker import EmbedWorker, give_up, to_rows

    started = perf_counter()
    run, tally = options.run, store.tally()
    try:
        worker = EmbedWorker(load(), options.mask_model, flip=options.flip, run=run)
        total = expected_total(inputs, run, console)
        with closing(worker), console.progress("embed", total, done=tally.total) as bar:
            mine = own_share(inputs, run)
            pending = store.pending(mine, lambda item: _pass_on(item, item.record, console))
            results = isolated(worker, pending, give_up)
            for piece in batched(_noted(results, tally, console, bar), PIECE_INPUTS):
                store.add(to_rows(piece, worker.dim))
        if not store.paths and run.shard.is_whole:
            raise InputError(f"{options.source}: no inputs arrived")
        attributes = {**store.attributes, "dim": worker.dim}
        count = join(store.paths, options.output, attributes, in_turn=False)
    finally:
        store.remove_if_empty()
    store.remove()
    seconds = perf_counter() - started
    others = f"; {inputs.passed_over()}" if inputs.passed_over() else ""
    console.info(
        f"embed: {tally} in {seconds:.1f} s ({count / seconds:.0f}/s) -> {options.output}{others}"
    )
    return tally


def _find_model(
    options: EmbedOptions, console: Console
) -> "tuple[ModelCard, Callable[[], Recogniser]]":
    """Return a model's card, at once where it is in the file, and what gives its network."""

    def load() -> "Recogniser":
        from mfrkit.stages.embed_worker import load_model  # torch loads here

        return load_model(options.model, options.run.device, options.fed)

    if not is_foreign(options.model) and options.fed == ASSUMED:
        return read_card(options.model)[0], load
    recogniser = load()
    if not is_completed(options.model):
        from mfrkit.stages.portraits import try_out

        try_out(recogniser, options.model, console)
    return recogniser.card, lambda: recogniser


def origin(card: ModelCard, *, flip: bool) -> dict[str, Any]:
    """Return what an embedding file says of the recogniser behind its vectors."""
    return {
        "model": card.name,
        "weights_sha256": card.sha256,
        "input_size": list(card.input_size or ()),
        "flip": flip,
    }


def _attributes(options: EmbedOptions, card: ModelCard) -> dict[str, Any]:
    """Return what the file says of how its vectors were made."""
    shard = options.run.shard
    attributes = origin(card, flip=options.flip)
    if options.mask_model is not None:
        attributes["mask_model_sha256"] = read_card(options.mask_model)[0].sha256
    return attributes if shard.is_whole else {**attributes, "shard": str(shard)}


def _noted(
    results: "Iterable[EmbeddedInput]", tally: Tally, console: Console, bar: Progress
) -> "Iterator[EmbeddedInput]":
    """Count each result and pass its record on."""
    for result in results:
        record = result.item.record
        if result.vector is None:
            record = record.skipped(result.reason)
            console.detail(f"skipped {record.source!r}: {record.reason}")
        tally.add(record)
        _pass_on(result.item, record, console)
        bar.update()
        yield result


def _pass_on(item: Item, record: Record, console: Console) -> None:
    """Print a record for the next command of a pipeline; what lies in a larger file has no path."""
    if isinstance(item.path, Packed):
        return
    root = None if item.path is None else str(root_of(item).resolve())
    console.record(record.to_stream(root))


PIECE_INPUTS = 4096
FIRST = "first_input_sha256"


class PieceStore:
    """The hidden folder beside an embedding file that is being made.

    Attributes:
        attributes: root attributes of the result, which a continued run must share, with what
            tells its inputs from others of their names.
        paths: files that hold what is done: the pieces, or the finished file.

    Raises:
        InputError: pieces are there and are neither to be continued nor thrown away, or they were
            made differently.
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
        """Yield the inputs behind the last piece; call `done` with each one before.

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
