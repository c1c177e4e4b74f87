"""Read inputs from records: manifests, sets of shard manifests, and standard input."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mfrkit.errors import InputError
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record, parse_line


class ManifestSource:
    """The records of one manifest, or of a complete set of shard manifests, in input order."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __iter__(self) -> Iterator[Item]:
        """Yield the records.

        Raises:
            InputError: a damaged line or a repeated key, with its file and line.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self.paths]
            yield from _items(_round_robin(files, self.paths))

    def count(self) -> int:
        """Count the lines."""
        total = 0
        for path in self.paths:
            with path.open("rb") as file:
                total += sum(1 for _ in file)
        return total


class StreamSource:
    """Records on standard input, each with the `root` its path is relative to."""

    def __iter__(self) -> Iterator[Item]:
        """Yield records as they arrive.

        Raises:
            InputError: standard input is a terminal, or a line is no record.
        """
        if sys.stdin.isatty():
            raise InputError("-: expected records on standard input, for example from mfrkit align")
        lines = enumerate(iter(sys.stdin.buffer.readline, b""), start=1)
        yield from _items(_Line(f"standard input, line {n}", text, None) for n, text in lines)

    def count(self) -> None:
        """Return None: the end is not known before it comes."""


class _Line(NamedTuple):
    """One line of a manifest; `root` is None where each record names its own."""

    where: str
    text: bytes
    root: Path | None


def _items(lines: Iterable[_Line]) -> Iterator[Item]:
    seen: set[int] = set()  # hashes: a million keys as text would be a few hundred megabytes
    position = 0
    for where, text, folder in lines:
        if not text.strip():
            continue
        fields = parse_line(text, where)
        record = Record.from_json(fields, where)
        root = Path(str(fields.get("root", ""))) if folder is None else folder
        if hash(record.key) in seen:
            raise InputError(f"{where}: key {record.key!r} appears twice")
        seen.add(hash(record.key))
        yield Item(position, record, None if record.path is None else root / record.path)
        position += 1


def _round_robin(files: Sequence[BinaryIO], paths: list[Path]) -> Iterator[_Line]:
    """Interleave shard manifests: line k of shard i of N is input (k - 1) * N + i."""
    for number in itertools.count(1):
        lines = [file.readline() for file in files]
        if not any(lines):
            return
        for text, path in zip(lines, paths, strict=True):
            if text:
                yield _Line(f"{path}, line {number}", text, path.parent)
