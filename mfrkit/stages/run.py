"""Run a per-image stage: inputs in, records out, every input accounted for."""

import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError, PartialError, reason_of
from mfrkit.io.clips import Every
from mfrkit.io.item import Item, Source
from mfrkit.io.manifest import Record
from mfrkit.io.source import NamedSource, open_source
from mfrkit.stages.clashes import Owner, without_clashes
from mfrkit.stages.flow import isolated
from mfrkit.stages.preview import Preview
from mfrkit.stages.sink import RecordSink, Tally, source_name

Process = Callable[[Iterable[Item]], Iterator[list[Record]]]


def run_stage(
    command: str,
    source: str,
    output: Path,
    recipe: dict[str, Any],
    options: RunOptions,
    console: Console,
    prepare: Callable[[], Process],
    only: Set[str] | None = None,
    owner: Owner | None = None,
    preview: Preview | None = None,
    every: Every | None = None,
) -> Tally:
    """Drive one per-image stage from its source to its finished manifest.

    Args:
        command: the stage's name.
        source: the SRC argument.
        output: result folder.
        recipe: the options that shape results.
        options: how the run is sized and continued.
        console: narration, progress and NDJSON.
        prepare: builds the worker once the folder is known to be usable, so that a refusal does
            not have to wait for weights to load. The worker takes inputs and yields, in input
            order, the records each one gave.
        only: keys of the inputs to take; None takes all.
        owner: says which input's results could take the name of another, see `without_clashes`.
        preview: is shown the inputs.
        every: the frames to take of video clips; None: the stage takes none.

    Returns:
        What was written and what was skipped.

    Raises:
        InputError: no inputs, or a folder that must not be touched.
        PartialError: more inputs were skipped than the options allow.
    """
    if source != "-" and Path(source).resolve() == output.resolve():
        raise InputError(f"{output}: is the source too; results need a folder of their own")
    inputs = open_source(source, exclude=output, every=every)
    if only is not None:
        inputs = NamedSource(inputs, only)
    if options.dry_run:
        announce(command, inputs, output, recipe, options, console)
        return Tally()
    started = time.perf_counter()
    first_or_fail(inputs, source)
    with RecordSink(output, command, recipe, options, console) as sink:
        earlier = sink.tally.total
        mine = own_share(without_clashes(inputs, owner), options)
        pending = sink.pending(mine if preview is None else preview.watch(mine))
        total = expected_total(inputs, options, console)
        with console.progress(command, total, done=earlier) as bar:
            for records in isolated(prepare(), pending, _give_up):
                sink.add(records)
                bar.update()
        if not sink.tally.total and options.shard.is_whole:
            raise InputError(f"{source}: no inputs arrived")
        sink.finish()
    seconds = time.perf_counter() - started
    rate = (sink.tally.total - earlier) / max(seconds, 1e-9)
    others = f"; {inputs.passed_over()}" if inputs.passed_over() else ""
    console.info(
        f"{command}: {sink.tally} in {seconds:.1f} s ({rate:.0f}/s) -> {sink.manifest}{others}"
    )
    check_skipped(sink.tally, options)
    return sink.tally


def _give_up(item: Item, error: Exception) -> list[Record]:
    """Return the record of an input that the stage failed on."""
    return [replace(item.record.skipped(reason_of(error)), source=source_name(item))]


def own_share(inputs: Iterable[Item], options: RunOptions) -> Iterator[Item]:
    """Yield the inputs that belong to this process's shard."""
    return (item for item in inputs if options.shard.holds(item.position))


def expected_total(inputs: Source, options: RunOptions, console: Console) -> int | None:
    """Count this shard's inputs if a progress bar will show the number."""
    total = inputs.count() if console.shows_progress else None
    return None if total is None else -(-total // options.shard.count)


def first_or_fail(inputs: Source, source: str) -> None:
    """Refuse an empty source before anything is written.

    Raises:
        InputError: a folder or manifest without a single input.
    """
    if source != "-" and next(iter(inputs), None) is None:
        wanted = " of those asked for" if isinstance(inputs, NamedSource) else ""
        raise InputError(f"{source}: no pictures{wanted} found")


def check_skipped(tally: Tally, options: RunOptions) -> None:
    """Fail when too few inputs gave a result.

    Raises:
        PartialError: the share of skipped inputs exceeds `--max-skipped`, or is 100 %.
    """
    if not tally.total:
        return
    share = tally.skipped / tally.total
    if options.max_skipped is None and share == 1:
        raise PartialError(
            f"all {tally.total} inputs were skipped; see the reasons in the manifest"
        )
    if options.max_skipped is not None and share > options.max_skipped:
        raise PartialError(
            f"{tally.skipped} of {tally.total} inputs were skipped, "
            f"more than --max-skipped {options.max_skipped:g} allows"
        )


def announce(
    command: str,
    inputs: Source,
    output: Path,
    recipe: dict[str, Any],
    options: RunOptions,
    console: Console,
) -> None:
    """Say what a run would do, for `--dry-run`."""
    total = inputs.count()
    amount = "records from standard input" if total is None else f"{total} inputs"
    shard = "" if options.shard.is_whole else f", shard {options.shard.index}/{options.shard.count}"
    console.info(f"would {command} {amount}{shard} -> {output}")
    for name, value in recipe.items():
        console.info(f"  {name} = {value!r}")
