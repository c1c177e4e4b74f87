"""Turn aligned faces into embeddings: crops in, one HDF5 file out, rows in input order.

This module checks and drives; `mfrkit.stages.embed_worker` does the work and loads torch for it, so
that a wrong argument is refused at once.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mfrkit.console import Console, Progress
from mfrkit.errors import InputError
from mfrkit.io.files import held, hidden_name, refuse_existing
from mfrkit.io.images import Packed
from mfrkit.io.item import Item, Source, root_of
from mfrkit.io.manifest import END, Record
from mfrkit.io.source import open_source
from mfrkit.models.cards import ModelCard
from mfrkit.models.feeding import ASSUMED
from mfrkit.models.loading import is_completed, is_foreign
from mfrkit.models.model_files import read_card
from mfrkit.stages.embedding_parts import PIECE_INPUTS, PieceStore, join
from mfrkit.stages.flow import batched, isolated
from mfrkit.stages.options import EmbedOptions
from mfrkit.stages.run import announce, check_skipped, expected_total, first_or_fail, own_share
from mfrkit.stages.sink import Tally

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
    inputs: Source, store: PieceStore, options: EmbedOptions, console: Console
) -> Tally:
    """See that a finished file holds all inputs, and pass their records on.

    Raises:
        InputError: it was made from others.
    """
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
    store: PieceStore,
    load: "Callable[[], Recogniser]",
    options: EmbedOptions,
    console: Console,
) -> Tally:
    """Embed what is not done yet, and join the pieces."""
    started = perf_counter()
    try:
        tally, dim = _embed_pending(inputs, store, load, options, console)
        if not store.paths and options.run.shard.is_whole:
            raise InputError(f"{options.source}: no inputs arrived")
        attributes = {**store.attributes, "dim": dim}
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
        from mfrkit.stages.self_test import try_out

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


def _embed_pending(
    inputs: Source,
    store: PieceStore,
    load: "Callable[[], Recogniser]",
    options: EmbedOptions,
    console: Console,
) -> tuple[Tally, int]:
    """Embed what the store does not hold yet, piece by piece; return the vectors' length too."""
    from mfrkit.stages.embed_worker import EmbedWorker, give_up, to_rows

    run, tally = options.run, store.tally()
    worker = EmbedWorker(load(), options.mask_model, flip=options.flip, run=run)
    total = expected_total(inputs, run, console)
    with closing(worker), console.progress("embed", total, done=tally.total) as bar:
        mine = own_share(inputs, run)
        pending = store.pending(mine, lambda item: _pass_on(item, item.record, console))
        results = isolated(worker, pending, give_up)
        for piece in batched(_noted(results, tally, console, bar), PIECE_INPUTS):
            store.add(to_rows(piece, worker.dim))
    return tally, worker.dim


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
    """Print an input's record for the next command of a pipeline, which reads the same crops.

    A picture inside a larger file has no path of its own to read it by.
    """
    if isinstance(item.path, Packed):
        return
    root = None if item.path is None else str(root_of(item).resolve())
    console.record(record.to_stream(root))
