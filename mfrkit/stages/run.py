"""Run a per-image stage: inputs in, records out, every input accounted for.

Results that an input's key gives rise to are kept apart from those of other inputs: `--variants
2` makes `x.mask2` of `x`, and `align --select all` makes `x.face2`; either may be an input's own
key as well, and one picture would take the place of the other. A sheet shows the run's first
faces, before and after, whether or not it was done in one go.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfrkit.config import Every, RunOptions
from mfrkit.console import Console
from mfrkit.errors import ImageError, InputError, PartialError, reason_of
from mfrkit.io.images import read_image
from mfrkit.io.item import Item, Source
from mfrkit.io.manifest import Record
from mfrkit.io.source import ManifestSource, NamedSource, open_source
from mfrkit.stages.flow import isolated
from mfrkit.stages.sink import RecordSink, Tally, source_name

if TYPE_CHECKING:
    from mfrkit.pages.contact_sheet import Cell

Owner = Callable[[str], str | None]
"""Returns the key whose results could have another key's name, None if there is none."""


def numbered(kind: str, last: int = 10**9) -> Owner:
    """Return the owner of keys that end in a number from 2 to `last`: `x` for `x.mask2`.

    Example:
        >>> numbered("mask", 3)("x.mask3"), numbered("mask", 3)("x.mask4")
        ('x', None)
    """
    pattern = re.compile(rf"(.+)\.{kind}([1-9]\d{{0,8}})", re.DOTALL)

    def owner(key: str) -> str | None:
        match = pattern.fullmatch(key)
        return match[1] if match and 2 <= int(match[2]) <= last else None

    return owner


def inside(*folders: str) -> Owner:
    """Return the owner of keys in folders of by-products: `x` for `_regions/x`."""

    def owner(key: str) -> str | None:
        folder, _, rest = key.partition("/")
        return rest if folder in folders and rest else None

    return owner


def either(*owners: Owner) -> Owner:
    """Return the first owner that several rules find."""
    return lambda key: next((who for rule in owners if (who := rule(key)) is not None), None)


def without_clashes(items: Iterable[Item], owner: Owner | None) -> Iterator[Item]:
    """Yield inputs; of two that could want one name, the later one comes as skipped.

    Args:
        items: all inputs, those of other shards too.
        owner: the stage's rule; None for a stage whose results have their inputs' names.
    """
    seen: set[int] = set()  # hashes: a million keys as text would be a few hundred megabytes
    wanted: dict[str, str] = {}  # owner -> the input that has one of its names
    for item in items:
        if owner is None:
            yield item
            continue
        key = item.record.key
        owners = list(_owners(key, owner))
        reason = ""
        if key in wanted:
            reason = f"name taken: what it gives could replace {wanted[key]!r}"
        for who in owners:
            if hash(who) in seen:
                reason = f"name taken: what {who!r} gives could have it"
        if reason:
            yield replace(item, record=item.record.skipped(reason), path=None)
            continue
        seen.add(hash(key))
        wanted |= dict.fromkeys(owners, key)
        yield item


def _owners(key: str, owner: Owner) -> Iterator[str]:
    """Yield a key's owner, and the owner's, as far as there are any."""
    found = owner(key)
    while found is not None:
        yield found
        found = owner(found)


FACES = 24


class Preview:
    """The pictures of a sheet.

    Args:
        caption: says what was done to a face, by its record.

    Attributes:
        pairs: cells by the input's position, to be filled in while the run lasts.
    """

    def __init__(self, caption: Callable[[Record], str]) -> None:
        self.pairs: dict[int, tuple[Cell, Cell]] = {}
        self._caption = caption
        self._first: dict[str, Item] = {}

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass inputs on, and note which are the first."""
        for item in items:
            if item.position < FACES and item.path is not None:
                self._first[item.record.key] = item
            yield item

    def write(self, path: Path | None, manifest: Path, console: Console) -> None:
        """Write the sheet; what an earlier run did is read from disk.

        Args:
            path: of the sheet; None for no sheet.
            manifest: of the finished run.
            console: narration.
        """
        if path is None:
            return
        from mfrkit.pages.contact_sheet import write_contact_sheet

        self._complete(manifest)
        if self.pairs:
            cells = [cell for _, pair in sorted(self.pairs.items()) for cell in pair]
            write_contact_sheet(path, cells, columns=8, heading="before and after")
            console.info(f"preview -> {path}")

    def _complete(self, manifest: Path) -> None:
        """Add the faces that were done before this run went on."""
        from mfrkit.pages.contact_sheet import Cell

        missing = {k: item for k, item in self._first.items() if item.position not in self.pairs}
        results = iter(ManifestSource([manifest]))
        while missing and (made := next(results, None)) is not None:
            item = missing.pop(made.record.key, None)
            if item is None or item.path is None or made.path is None:
                continue
            try:
                before, after = read_image(item.path), read_image(made.path)
            except ImageError:
                continue
            caption = self._caption(made.record)
            self.pairs[item.position] = Cell(before, made.record.key), Cell(after, caption)


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
