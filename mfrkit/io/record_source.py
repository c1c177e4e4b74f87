"""Read inputs from records: manifests, sets of shard manifests, and standard input."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mfrkit.errors import InputError, ItemError, MfrError
from mfrkit.io.item import Item, Source
from mfrkit.io.manifest import END, Record, parse_line


class ManifestSource(Source):
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


class StreamSource(Source):
    """Records on standard input, each with the `root` its path is relative to.

    What mfrkit sends says with each record that more is to come, and closes with one that does not:
    so the end of the data can be told from the death of what sends them.
    """

    def __iter__(self) -> Iterator[Item]:
        """Yield records as they arrive.

        Raises:
            InputError: standard input is a terminal, or a line is no record.
            MfrError: behind the last record more was to come.
        """
        if sys.stdin.isatty():
            raise InputError("-: expected records on standard input, for example from mfrkit align")
        last = b""

        def lines() -> Iterator[_Line]:
            nonlocal last
            for number, text in enumerate(iter(sys.stdin.buffer.readline, b""), start=1):
                last = text
                if text.endswith(b"\n") or not _promises_more(text):
                    yield _Line(f"standard input, line {number}", text, None)

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
            if (
                fields.get("status") == END["status"]
            ):  # of a stream that was kept as a file, or of one of several
                continue
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
        lines = [file.readline() for file in files]
        if not any(lines):
            return
        for text, path in zip(lines, paths, strict=True):
            if text:
                yield _Line(f"{path}, line {number}", text, path.parent)
