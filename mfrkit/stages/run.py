"""Run a per-image stage: inputs in, records out, every input accounted for.

A stage is a driver, such as `align`, which loads no torch, so that a wrong argument is refused at
once, and a worker, such as `align_worker`, which is loaded when its output may be written.

Results that an input's key gives rise to are kept apart from those of other inputs: `--variants
2` makes `x.mask2` of `x`, and `align --select all` makes `x.face2`; either may be an input's own
key as well, and one picture would take the place of the other. A sheet shows the run's first
faces, before and after, whether or not it was done in one go.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import ImageError, InputError, PartialError, reason_of
from mfrkit.io.images import read_image
from mfrkit.io.item import Item, Source
from mfrkit.io.manifest import Record
from mfrkit.io.pairs import read_pairs
from mfrkit.io.source import ManifestSource, NamedSource, open_source
from mfrkit.stages.flow import isolated
from mfrkit.stages.options import AlignOptions, InpaintOptions, SynthMaskOptions
from mfrkit.stages.sink import RecordSink, Tally, source_name

Owner = Callable[[str], str | None]
"""Returns the key whose results could have another key's name, None if there is none."""
Caption = Callable[[Record], str]
Process = Callable[[Iterable[Item]], Iterator[list[Record]]]


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


_SHOWN = 24  # faces of a sheet


class _Sheet:
    """A picture of the run's first faces, before and after, read from disk when all is done.

    `caption` says by a record what was done to a face.
    """

    def __init__(self, path: Path, caption: Caption) -> None:
        self._path, self._caption = path, caption
        self._first: dict[str, Item] = {}

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass inputs on, and note which are the first."""
        for item in items:
            if item.position < _SHOWN and item.path is not None:
                self._first[item.record.key] = item
            yield item

    def write(self, manifest: Path, console: Console) -> None:
        """Draw what the finished run says of these."""
        from mfrkit.pages.contact_sheet import Cell, write_contact_sheet

        missing, pairs = dict(self._first), {}
        results = iter(ManifestSource([manifest]))
        while missing and (made := next(results, None)) is not None:
            item = missing.pop(made.record.key, None)
            if item is None or item.path is None or made.path is None:
                continue
            with suppress(ImageError):
                before = Cell(read_image(item.path), made.record.key)
                pairs[item.position] = (
                    before,
                    Cell(read_image(made.path), self._caption(made.record)),
                )
        if pairs:
            cells = [cell for _, pair in sorted(pairs.items()) for cell in pair]
            write_contact_sheet(self._path, cells, columns=8, heading="before and after")
            console.info(f"preview -> {self._path}")


class Opened(NamedTuple):
    """One input on its way: its pixels, (H, W, 3) uint8 RGB, or why there are none."""

    item: Item
    pixels: NDArray[np.uint8] | None
    reason: str = ""


def opened(item: Item) -> Opened:
    """Decode an input."""
    if item.path is None:
        return Opened(item, None, item.record.reason or "skipped earlier")
    try:
        return Opened(item, read_image(item.path))
    except ImageError as error:
        return Opened(item, None, str(error))


def inputs_of(options: Any) -> Source:
    """Open a stage's source: without its own results, of lists and clips what is asked for."""
    every = getattr(options, "every", None)
    inputs = open_source(options.source, exclude=options.output, every=every)
    only = getattr(options, "only", None)
    return inputs if only is None else NamedSource(inputs, read_pairs(only).keys())


def run_stage(
    command: str,
    options: AlignOptions | SynthMaskOptions | InpaintOptions,
    console: Console,
    prepare: Callable[[], Process],
    owner: Owner | None = None,
    caption: Caption | None = None,
) -> Tally:
    """Drive one per-image stage from its source to its finished manifest.

    Args:
        command: the stage's name.
        options: of the stage.
        console: narration, progress and NDJSON.
        prepare: builds the worker once the folder is known to be usable, so that a refusal does
            not have to wait for weights to load. The worker takes inputs and yields, in input
            order, the records each one gave.
        owner: says which input's results could take the name of another, see `without_clashes`.
        caption: of a face in the stage's preview; None for a stage that has none, or its own.

    Raises:
        InputError: no inputs, or a folder that must not be touched.
        PartialError: more inputs were skipped than the options allow.
    """
    source, output, run, recipe = options.source, options.output, options.run, options.recipe()
    if source != "-" and Path(source).resolve() == output.resolve():
        raise InputError(f"{output}: is the source too; results need a folder of their own")
    inputs = inputs_of(options)
    if run.dry_run:
        announce(command, inputs, output, recipe, run, console)
        return Tally()
    started = time.perf_counter()
    first_or_fail(inputs, source)
    sheet = _Sheet(options.preview, caption) if options.preview and caption else None
    with RecordSink(output, command, recipe, run, console) as sink:
        earlier = sink.tally.total
        mine = own_share(without_clashes(inputs, owner), run)
        pending = sink.pending(mine if sheet is None else sheet.watch(mine))
        total = expected_total(inputs, run, console)
        with console.progress(command, total, done=earlier) as bar:
            for records in isolated(prepare(), pending, _give_up):
                sink.add(records)
                bar.update()
        if not sink.tally.total and run.shard.is_whole:
            raise InputError(f"{source}: no inputs arrived")
        sink.finish()
    seconds = time.perf_counter() - started
    rate = (sink.tally.total - earlier) / max(seconds, 1e-9)
    others = f"; {inputs.passed_over()}" if inputs.passed_over() else ""
    console.info(
        f"{command}: {sink.tally} in {seconds:.1f} s ({rate:.0f}/s) -> {sink.manifest}{others}"
    )
    check_skipped(sink.tally, run)
    if sheet is not None:
        sheet.write(sink.manifest, console)
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
    """Refuse an empty source, a folder or manifest, before anything is written."""
    if source != "-" and next(iter(inputs), None) is None:
        wanted = " of those asked for" if isinstance(inputs, NamedSource) else ""
        raise InputError(f"{source}: no pictures{wanted} found")


def check_skipped(tally: Tally, options: RunOptions) -> None:
    """Fail when a larger share of the inputs than `--max-skipped`, or all of them, was skipped."""
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
