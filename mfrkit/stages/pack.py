"""Pack pictures into few large files: RecordIO as InsightFace's trainers read it, or tar shards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from mfrkit.config import RunOptions
from mfrkit.console import Console, Progress
from mfrkit.errors import ImageError, InputError, PartialError
from mfrkit.io.files import refuse_existing
from mfrkit.io.images import decode_image, read_content
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.io.names import expand_braces
from mfrkit.io.rec_writer import UNKNOWN, writing_records
from mfrkit.io.recordio import index_path, listing_path, property_path
from mfrkit.io.source import open_source
from mfrkit.io.tar_writer import writing_shards
from mfrkit.stages.flow import ordered_map
from mfrkit.stages.run import announce, check_skipped, expected_total, first_or_fail
from mfrkit.stages.sink import Tally

Add = Callable[[int, Record, bytes], None]


@dataclass(frozen=True)
class PackOptions:
    """What to pack, and into which files.

    Attributes:
        source: SRC.
        output: a `.rec` file, or a `.tar` file or pattern of several.
        run: threads, force, dry run, share of skipped inputs.
    """

    source: str
    output: Path
    run: RunOptions = field(default_factory=RunOptions)


class _Content(NamedTuple):
    """One input on its way: the bytes of its file and its size, or why there are none."""

    item: Item
    picture: bytes = b""
    size: tuple[int, ...] = ()
    reason: str = ""


def pack(options: PackOptions, console: Console) -> Tally:
    """Copy the picture files of a source, byte for byte, into one file or several.

    Raises:
        InputError: no inputs, an output of no known kind, or one that exists.
        PartialError: too many inputs were skipped.
    """
    run, output = options.run, options.output
    for path in _files(output):
        refuse_existing(path, force=run.force)
    inputs = open_source(options.source)
    if run.dry_run:
        announce("pack", inputs, output, {}, run, console)
        return Tally()
    first_or_fail(inputs, options.source)
    started = perf_counter()
    with console.progress("pack", expected_total(inputs, run, console)) as bar:
        packed = _Packed(console, bar)
        with _writing(output, packed) as add:
            for content in ordered_map(_load, inputs, workers=run.workers):
                packed.add(content, add)
            if not packed.tally.written:
                raise PartialError(f"{options.source}: no usable picture; --verbose says why")
    seconds = perf_counter() - started
    console.info(
        f"pack: {packed.tally} of {len(packed.people)} identities in {seconds:.1f} s "
        f"({packed.tally.total / max(seconds, 1e-9):.0f}/s) -> {output}"
    )
    check_skipped(packed.tally, run)
    return packed.tally


class _Packed:
    """What has been packed so far."""

    def __init__(self, console: Console, bar: Progress) -> None:
        self.tally = Tally()
        self.people: dict[str, int] = {}
        self.sizes: set[tuple[int, ...]] = set()
        self._console, self._bar = console, bar

    def add(self, content: _Content, write: Add) -> None:
        """Write one input, or count it as skipped."""
        record = content.item.record
        if content.reason:
            record = record.skipped(content.reason)
            self._console.detail(f"skipped {record.source!r}: {record.reason}")
        else:
            who = record.identity
            label = UNKNOWN if who is None else self.people.setdefault(who, len(self.people))
            write(label, record, content.picture)
            self.sizes.add(content.size)
        self.tally.add(record)
        self._bar.update()

    def describe(self) -> bytes:
        """Return what InsightFace's trainers ask for: number of people, height and width."""
        if len(self.sizes) > 1:
            self._console.warn(f"pictures of {len(self.sizes)} sizes; trainers expect one")
        height, width = max(self.sizes, default=(0, 0))
        return f"{len(self.people)},{height},{width}\n".encode()


def _files(output: Path) -> list[Path]:
    """Return the files a run will write."""
    if output.suffix == ".rec":
        return [output, index_path(output), listing_path(output), property_path(output)]
    if output.suffix == ".tar":
        return [Path(name) for name in expand_braces(str(output))]
    raise InputError(
        f"{output}: expected a name that ends in .rec or .tar, for example train-{{000..009}}.tar"
    )


@contextmanager
def _writing(output: Path, packed: _Packed) -> Iterator[Add]:
    if output.suffix == ".rec":
        with writing_records(output, packed.describe) as records:
            yield lambda label, record, picture: records.add(label, record.key, picture)
    else:
        with writing_shards(_files(output)) as shards:
            yield shards.add


def _load(item: Item) -> _Content:
    if item.path is None:
        return _Content(item, reason=item.record.reason or "skipped earlier")
    try:
        picture = read_content(item.path)
        return _Content(item, picture, decode_image(picture).shape[:2])
    except ImageError as error:
        return _Content(item, reason=str(error))
