"""Pack pictures into few large files: RecordIO, tar shards, or verification files (`.bin`).

RecordIO is written as InsightFace's trainers read it. A verification file holds crops in pairs;
it is made of, and parted again into, what every command reads: crops and a pair list.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mfrkit.config import RunOptions
from mfrkit.console import Console, Progress
from mfrkit.errors import ImageError, InputError, PartialError
from mfrkit.io.files import expand_braces, refuse_existing, write_held, write_whole
from mfrkit.io.images import Packed, decode_image, read_content
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.io.pairs import read_pairs
from mfrkit.io.rec import (
    LENGTH_BITS,
    UNKNOWN,
    index_path,
    listing_path,
    property_path,
    writing_records,
)
from mfrkit.io.source import open_source
from mfrkit.io.tar import writing_shards
from mfrkit.io.verification_bin import read_bin, write_bin
from mfrkit.stages.flow import ordered_map
from mfrkit.stages.options import PackOptions
from mfrkit.stages.run import announce, check_skipped, expected_total, first_or_fail
from mfrkit.stages.sink import RecordSink, Tally


def find_crops(source: str, keys: Collection[str]) -> dict[str, Path | Packed]:
    """Return where the crops of some keys are; those that are not there are left out.

    Raises:
        InputError: no such source, or a damaged manifest.
    """
    wanted = frozenset(keys)
    return {
        item.record.key: item.path
        for item in open_source(source)
        if item.path is not None and item.record.key in wanted
    }


def _require_crops(source: str, keys: Collection[str], wanted_by: Path) -> dict[str, Path | Packed]:
    """Return where the crops of some keys are, all of them."""
    found = find_crops(source, keys)
    missing = [key for key in keys if key not in found]
    if missing:
        raise InputError(
            f"{source}: lacks {len(missing)} of the {len(keys)} crops of {wanted_by}: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        )
    return found


Add = Callable[[int, Record, bytes], None]


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
            for content in ordered_map(
                _load, inputs, workers=run.threads, weight=lambda item: item.pixels
            ):
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
        if len(picture) >> LENGTH_BITS:
            return _Content(item, reason=f"too large for a record: {len(picture)} bytes")
        return _Content(item, picture, decode_image(picture).shape[:2])
    except ImageError as error:
        return _Content(item, reason=str(error))


PAIRS = "pairs.txt"
_KINDS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"))
_USUAL = (112, 112)  # what readers of verification files expect


def unpack_bin(
    path: Path, output: Path, console: Console, *, force: bool = False, resume: bool = False
) -> Tally:
    """Write the crops of a verification file, a manifest and its pair list.

    Convention:
        Pair i, from 1, becomes `000001_a` and `000001_b` in one flat folder, because the file
        does not tell who is shown. Pictures keep their bytes. `pairs.txt` holds `a b 0|1` in the
        file's order, of which `mfrkit eval` makes ten contiguous folds, as InsightFace does.

    Raises:
        InputError: not a verification file, or a folder that must not be touched.
        PartialError: no picture can be read.
    """
    contents = read_bin(path)
    names = [f"{pair:06d}_{side}" for pair in range(1, len(contents.same) + 1) for side in "ab"]
    options = RunOptions(force=force, resume=resume)
    items = (
        Item(place, Record(name, None, f"{path.name}#{place}"), None)
        for place, name in enumerate(names)
    )
    recipe = {"file": path.name, "pictures": len(names)}
    with RecordSink(output, "unpack", recipe, options, console) as sink:
        for item in sink.pending(items):
            sink.add([_write_picture(item.record, contents.pictures[item.position], output)])
        rows = zip(names[::2], names[1::2], contents.same.astype(int).tolist(), strict=True)
        write_whole(output / PAIRS, "".join(f"{a} {b} {same}\n" for a, b, same in rows).encode())
        sink.finish()
    console.info(f"unpack: {sink.tally}, {len(contents.same)} pairs -> {output / PAIRS}")
    check_skipped(sink.tally, options)
    return sink.tally


def _write_picture(record: Record, picture: bytes, output: Path) -> Record:
    try:
        decode_image(picture)
    except ImageError as error:
        return record.skipped(str(error))
    suffix = _suffix_of(picture)
    if suffix is None:
        return record.skipped("neither JPEG nor PNG")
    path = f"{record.key}{suffix}"
    write_held(output / path, picture)
    return Record(record.key, path, record.source)


def pack_bin(pairs: Path, crops: str, output: Path, console: Console, *, force: bool) -> int:
    """Write a verification file with the crops of a pair list; return the number of pairs.

    Convention:
        Pairs are written fold by fold, because readers of such files cut them into ten
        contiguous folds. Pictures keep their bytes.

    Raises:
        InputError: an unusable list, crops that are missing, unreadable or neither JPEG nor PNG,
            or an output that exists.
    """
    refuse_existing(output, force=force)
    listed = read_pairs(pairs)
    order = np.argsort(listed.fold, kind="stable").tolist()
    keys = [key for place in order for key in (listed.a[place], listed.b[place])]
    paths = _require_crops(crops, dict.fromkeys(keys), pairs)
    pictures = {key: _read_picture(path) for key, path in paths.items()}
    odd = [key for key, (_, size) in pictures.items() if size != _USUAL]
    if odd:
        height, width = pictures[odd[0]][1]
        console.warn(
            f"not 112x112: {len(odd)} of {len(pictures)} pictures ({odd[0]}: {width}x{height}); "
            "other readers scale them without alignment"
        )
    write_bin(output, [pictures[key][0] for key in keys], listed.same[order].tolist())
    console.info(f"pack-bin: {len(listed)} pairs of {len(pictures)} pictures -> {output}")
    return len(listed)


def _read_picture(path: Path | Packed) -> tuple[bytes, tuple[int, int]]:
    """Return the bytes of a crop and its height and width."""
    try:
        content = read_content(path)
        size = decode_image(content).shape
    except ImageError as error:
        raise InputError(f"{path}: {error}") from error
    if _suffix_of(content) is None:
        raise InputError(
            f"{path}: neither JPEG nor PNG; convert the crops with "
            "`mfrkit align --detector none --format jpg`"
        )
    return content, (size[0], size[1])


def _suffix_of(content: bytes) -> str | None:
    return next((suffix for start, suffix in _KINDS if content.startswith(start)), None)
