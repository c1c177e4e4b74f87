"""Enumerate the inputs of a stage: folder, picture, manifest, archive, or records on a pipe.

Inputs come one by one, in an order that depends on their names alone, so that memory does not
grow with their number and every rerun sees the same positions.
"""

import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mfrkit.config import Every
from mfrkit.errors import InputError, ItemError, MfrError
from mfrkit.io.clips import Frame, frames_of
from mfrkit.io.files import canonical, clip_key, expand_braces, is_clip, is_picture, key_of
from mfrkit.io.images import is_photo
from mfrkit.io.item import Item, Source
from mfrkit.io.manifest import END, MANIFEST, Record, identity_of, next_line, parse_line
from mfrkit.io.rec import RecSource
from mfrkit.io.tar import TarSource


class ManifestSource(Source):
    """The records of one manifest, or of a complete set of shard manifests, in input order.

    Raises:
        InputError: while they are read: a damaged line or a repeated key, with its file and line.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __iter__(self) -> Iterator[Item]:
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self.paths]
            yield from _items(_round_robin(files, self.paths))

    def count(self) -> int:
        """Count the lines."""
        total = 0
        for path in self.paths:
            with path.open("rb") as file:
                blocks = iter(lambda: file.read(_BLOCK), b"")
                total += sum(block.count(b"\n") for block in blocks)
        return total


class StreamSource(Source):
    """Records on standard input, each with the `root` its path is relative to.

    What mfrkit sends says with each record that more is to come, and closes with one that does not:
    so the end of the data can be told from the death of what sends them.

    Raises:
        InputError: while they are read: standard input is a terminal, or a line is no record.
        MfrError: behind the last record more was to come.
    """

    def __iter__(self) -> Iterator[Item]:
        if sys.stdin.isatty():
            raise InputError("-: expected records on standard input, for example from mfrkit align")
        last = b""

        def lines() -> Iterator[_Line]:
            nonlocal last
            for number in itertools.count(1):
                where = f"standard input, line {number}"
                text = next_line(sys.stdin.buffer, where)
                if not text:
                    return
                last = text
                if text.endswith(b"\n") or not _promises_more(text):
                    yield _Line(where, text, None)

        yield from _items(lines())
        if _promises_more(last):
            raise MfrError(
                "standard input ended before its closing record: the command that feeds it failed "
                "or was killed; run the pipeline again, with --resume where its commands have it"
            )

    def count(self) -> None:
        """Return None: the end is not known before it comes."""


class _Line(NamedTuple):
    """One line of a manifest; `root` is None where each record names its own."""

    where: str
    text: bytes
    root: Path | None


def _promises_more(text: bytes) -> bool:
    """Whether a stream cannot end with this line: it says so, or was cut itself."""
    if not text.strip():
        return False
    try:
        return parse_line(text, "").get("more") is True
    except InputError:
        return not text.endswith(b"\n")


def _items(lines: Iterable[_Line]) -> Iterator[Item]:
    """Yield inputs; one whose record cannot be used comes as a skipped one."""
    seen: set[int] = set()  # hashes: a million keys as text would be a few hundred megabytes
    position = 0
    for where, text, folder in lines:
        if not text.strip():
            continue
        try:
            fields = parse_line(text, where)
            if fields.get("status") == END["status"]:
                continue  # of a stream that was kept as a file, or of one of several
            record = Record.from_json(fields, where)
        except ItemError as error:
            name = f"record {position + 1}"
            yield Item(position, Record(name, None, name).skipped(str(error)), None)
            position += 1
            continue
        root = Path(str(fields.get("root", ""))) if folder is None else folder
        if hash(record.key) in seen:
            raise InputError(f"{where}: key {record.key!r} appears twice")
        seen.add(hash(record.key))
        yield Item(position, record, None if record.path is None else root / record.path)
        position += 1


def _round_robin(files: Sequence[BinaryIO], paths: list[Path]) -> Iterator[_Line]:
    """Interleave shard manifests: line k of shard i of N is input (k - 1) * N + i."""
    for number in itertools.count(1):
        places = [f"{path}, line {number}" for path in paths]
        lines = list(map(next_line, files, places))
        if not any(lines):
            return
        for text, where, path in zip(lines, places, paths, strict=True):
            if text:
                yield _Line(where, text, path.parent)


_DEEPEST = 100  # folders below the one that was named
_BLOCK = 1 << 20
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}")  # names like `Ann_St. Clair_0001` have none
_SHARD_MANIFEST = re.compile(r"manifest-(\d{1,9})-of-(\d{1,9})\.jsonl")


def open_source(text: str, *, exclude: Path | None = None, every: Every | None = None) -> Source:
    """Choose the reader for a command's SRC argument.

    Args:
        text: a folder (its manifest is used when it has one), a picture, a `.jsonl` manifest, a
            `.rec` file with its index, `.tar` shards (`train-{0000..0009}.tar` names ten), or `-`
            for records on standard input.
        exclude: a folder not to descend into, so that a stage never reads its own output.
        every: the frames to take of video clips; None: clips are no inputs.

    Raises:
        InputError: nothing there, or an unfinished result of an earlier stage.
    """
    if text == "-":
        return StreamSource()
    path = Path(text)
    if path.is_dir():
        manifests = _manifests(path)
        return ManifestSource(manifests) if manifests else FolderSource(path, exclude, every)
    if path.suffix == ".tar":
        return TarSource(expand_braces(text))
    if not path.exists():
        raise InputError(f"{text}: no such file or folder")
    if path.suffix == ".rec":
        return RecSource(path)
    return ManifestSource([path]) if path.suffix == ".jsonl" else FileSource(path, every)


class FileSource(Source):
    """A single picture, or with `every` those frames of a single video clip."""

    def __init__(self, path: Path, every: Every | None = None) -> None:
        self.path, self._every = path, every

    def __iter__(self) -> Iterator[Item]:
        return (Item(position, *each) for position, each in enumerate(self._inputs()))

    def count(self) -> int:
        """Count by looking through folders and clips."""
        return sum(1 for _ in self._inputs())

    def _inputs(self) -> Iterator[tuple[Record, Path | Frame | None]]:
        return self._inputs_of(self.path, self.path.name)

    def _inputs_of(self, path: Path, relative: str) -> Iterator[tuple[Record, Path | Frame | None]]:
        if self._every is not None and is_clip(relative):
            yield from frames_of(path, relative, self._every)
        else:
            key = key_of(relative)
            yield Record(key, relative, relative, identity=identity_of(key)), path


class NamedSource(Source):
    """The inputs of another source whose keys are on a list, numbered anew."""

    def __init__(self, source: Source, keys: Set[str]) -> None:
        self._source = source
        self._keys = keys

    def __iter__(self) -> Iterator[Item]:
        chosen = (item for item in self._source if item.record.key in self._keys)
        return (replace(item, position=position) for position, item in enumerate(chosen))

    def count(self) -> int | None:
        """Return the length of the list, which the source may not quite reach."""
        return len(self._keys)

    def passed_over(self) -> str:
        """Say which files of the source were no inputs."""
        return self._source.passed_over()


class FolderSource(FileSource):
    """All pictures below a folder, in name order; links are followed, loops are not.

    Files are taken for pictures by their suffix, or by their first bytes if they have none. Hidden
    files and folders are left out. Video clips are inputs if `every` says which of their frames. A
    second picture with the same key comes as a skipped record.
    """

    def __init__(self, root: Path, exclude: Path | None = None, every: Every | None = None) -> None:
        super().__init__(root, every)
        self._exclude = os.path.realpath(exclude) if exclude else None
        self._others: Counter[str] = Counter()  # suffixes of files that are no pictures

    def _inputs(self) -> Iterator[tuple[Record, Path | Frame | None]]:
        self._others.clear()
        for relative, fault in self._walk(str(self.path), "", ()):
            if fault is None:
                yield from self._inputs_of(self.path / relative, relative)
            else:
                key = key_of(relative)
                record = Record(key, relative, relative, identity=identity_of(key))
                yield record.skipped(fault), None

    def passed_over(self) -> str:
        """Say which files are no pictures."""
        kinds = ", ".join(f"{suffix}: {n}" for suffix, n in self._others.most_common())
        return f"{self._others.total()} other files passed over ({kinds})" if kinds else ""

    def _walk(
        self, folder: str, prefix: str, above: tuple[str, ...]
    ) -> Iterator[tuple[str, str | None]]:
        """Yield (relative path, why it is no input or None)."""
        real = os.path.realpath(folder)
        if real in above or real == self._exclude:
            return
        keys: dict[str, str] = {}
        try:
            listing = _listing(folder, len(above))
        except ItemError as error:
            if not above:
                raise InputError(f"{folder}: {error}") from error
            yield f"{prefix}*", str(error)
            return
        for name, is_folder in listing:
            path = os.path.join(folder, name)
            if is_folder:
                keys[f"{canonical(name)}/"] = f"{name}/"
                yield from self._walk(path, f"{prefix}{name}/", (*above, real))
            elif (clip := self._every is not None and is_clip(name)) or _is_photo(path):
                key = f"{clip_key(name)}/" if clip else key_of(name)
                first = keys.setdefault(key, name)
                yield prefix + name, None if first == name else f"same name as {prefix + first}"
            else:
                self._others[os.path.splitext(name)[1].lower() or "no suffix"] += 1


def _is_photo(path: str) -> bool:
    """Whether a file is one by its suffix, or without any by how it begins."""
    suffix = os.path.splitext(path)[1]
    return is_picture(path) or (not _SUFFIX.fullmatch(suffix) and is_photo(Path(path)))


def _manifests(folder: Path) -> list[Path]:
    """Find the finished manifest(s) of a folder; none means a plain folder of pictures."""
    whole = folder / MANIFEST
    if whole.is_file():
        return [whole]
    parts = {
        (int(match[1]), int(match[2])): entry
        for entry in folder.iterdir()
        if (match := _SHARD_MANIFEST.fullmatch(entry.name))
    }
    if any(folder.glob(".manifest*.jsonl.*")):  # being written, or being removed
        raise InputError(f"{folder}: its run is unfinished; continue the command with --resume")
    counts = {count for _, count in parts}
    if len(counts) > 1:
        raise InputError(f"{folder}: holds shards of different counts: {sorted(counts)}")
    for count in counts:
        missing = next((i for i in range(1, count + 1) if (i, count) not in parts), None)
        if missing is not None:
            raise InputError(f"{folder}: shard {missing}/{count} is missing; run it first")
    return [parts[place] for place in sorted(parts)]


def _listing(folder: str, depth: int) -> list[tuple[str, bool]]:
    """List visible names, in order, with whether each is a folder; ItemError if it cannot be."""
    if depth > _DEEPEST:
        raise ItemError(f"folder more than {_DEEPEST} folders down")
    try:
        with os.scandir(folder) as entries:
            # os.path.isdir: a link that points at itself is no folder, and no error either
            found = [(e.name, os.path.isdir(e)) for e in entries if not e.name.startswith(".")]
    except OSError as error:
        raise ItemError(f"folder cannot be listed: {error.strerror or error}") from error
    return sorted(found)
