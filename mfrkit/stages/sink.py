"""The result folder of a per-image stage: its manifest, its recipe, and how a run continues.

While a run lasts it holds the folder by a lock, and its records go to a hidden part file, in input
order; the rename to `manifest.jsonl` is the last thing a run does, so a manifest that is there is
complete. The recipe (`run.json`: the command, every option that shapes the result, and what the
first input was) is written first, so that a continued run can refuse to mix two kinds of result in
one folder. A result that is replaced is withdrawn whole before anything of it is removed: its
manifests get hidden names, by which a later run finishes what a kill left of the removal.
"""

import itertools
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

from mfrkit import __version__
from mfrkit.config import RunOptions
from mfrkit.console import Console, to_line
from mfrkit.errors import ImageError, InputError
from mfrkit.io.clips import Frame
from mfrkit.io.documents import json_file, read_json_object
from mfrkit.io.files import held, naming, temporary_name, unlinked, write_held
from mfrkit.io.images import read_content
from mfrkit.io.item import Item
from mfrkit.io.manifest import END, Record, below, manifest_path, next_line, parse_line


def refuse_other_commands(folder: Path, command: str) -> None:
    """Keep the results of different commands in different folders.

    Raises:
        InputError: the folder holds results of another command.
    """
    for path in folder.glob("run*.json"):
        found = _read(path).get("command", command)
        if found != command:
            raise InputError(f"{folder}: holds results of mfrkit {found}; name another folder")


def check_options(folder: Path, options: dict[str, Any]) -> None:
    """Refuse to mix results made with different options.

    Raises:
        InputError: a recipe in the folder has another value for some option.
    """
    for path in folder.glob("run*.json"):
        found = _read(path).get("options", options)
        if not isinstance(found, dict):
            raise InputError(f"{path}: damaged; --force starts again")
        for name in sorted(found.keys() | options.keys()):
            if found.get(name) != options.get(name):
                raise InputError(
                    f"{folder}: was made with {name}={found.get(name)!r}, "
                    f"not {options.get(name)!r}; --force starts again"
                )


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except InputError:
        return {}  # not ours, or cut short: the manifest decides


_LOCK = ".lock"
_WITHDRAWN = ".withdrawn"


@dataclass
class Tally:
    """How many records were written, why others were not, and how many inputs gave them."""

    written: int = 0
    inputs: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        """Count one record."""
        if record.status == "ok":
            self.written += 1
        else:
            self.add_skipped(record.reason or "unknown")

    def add_skipped(self, reason: str) -> None:
        """Count an input that gave nothing, under the kind of its reason."""
        self.reasons[_kind(reason)] += 1

    @property
    def skipped(self) -> int:
        """Return the number of skipped inputs."""
        return sum(self.reasons.values())

    @property
    def total(self) -> int:
        """Return the number of records."""
        return self.written + self.skipped

    @property
    def losses(self) -> str:
        """Say how many inputs were skipped, and why."""
        causes = ", ".join(f"{reason}: {n}" for reason, n in self.reasons.most_common())
        return f"{self.skipped} skipped ({causes})"

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.written} written, {self.losses}"
        several = 0 < self.inputs < self.total  # variants, or several faces of one photo
        return f"{self.written} written" + (f" from {self.inputs} inputs" if several else "")


def _kind(reason: str) -> str:
    """Shorten a reason to its kind, so that the summary stays one line."""
    return reason.split(":", 1)[0].split(" as ", 1)[0]


class RecordSink:
    """Write the records of one run; use as a context manager.

    Args:
        folder: where results go.
        command: the stage's name.
        recipe: the options that shape results, JSON types only.
        options: resume, force and shard decide what happens to earlier results.
        console: receives each record as NDJSON.

    Raises:
        InputError: on entering, if the folder holds something this run must not touch.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        recipe: dict[str, Any],
        options: RunOptions,
        console: Console,
    ) -> None:
        self.folder = folder
        self.manifest = manifest_path(folder, options.shard.suffix)
        self.tally = Tally()
        self._command = command
        self._recipe = recipe
        self._options = options
        self._console = console
        self._part = temporary_name(self.manifest)
        self._run_file = folder / f"run{options.shard.suffix}.json"
        self._root = str(folder.resolve())
        self._file: BinaryIO | None = None
        self._done: list[str] = []  # sources finished by the run that is continued
        self._exit = ExitStack()

    def __enter__(self) -> "RecordSink":
        folder, shard = self.folder, self._options.shard
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; name a folder to write to")
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.callback(self._leave_no_trace)
            stack.enter_context(held(folder, folder / _LOCK, shared=not shard.is_whole))
            if not shard.is_whole:
                stack.enter_context(held(folder, folder / f"{_LOCK}{shard.suffix}"))
            self._begin()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if not self.tally.total:
            self._part.unlink(missing_ok=True)
            self._run_file.unlink(missing_ok=True)
        self._exit.close()

    def _leave_no_trace(self) -> None:
        """Remove the folder if nothing happened: a rerun would trip over it."""
        with suppress(OSError):
            self.folder.rmdir()

    def _begin(self) -> None:
        """Decide what becomes of earlier results, and open the part file."""
        refuse_other_commands(self.folder, self._command)
        self._finish_removal()
        if self._options.force and any(self.folder.glob("run*.json")):
            self._withdraw()  # only what this command made: a manifest alone may be the user's own
        self._check()
        earlier = self._read_earlier()
        self._write_recipe(self._inputs_before())
        self._file = unlinked(self._part).open("wb")
        for record in earlier:
            self._write(record)
        self.tally.inputs = len(self._done)

    def pending(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the inputs the continued run had not finished.

        Raises:
            InputError: the inputs are not those of the run that is continued.
        """
        done = deque(self._done)
        for number, item in enumerate(items):
            expected = done.popleft() if done else None
            if expected is not None and expected != source_name(item):
                raise self._changed(expected, source_name(item))
            if number == 0:
                self._check_first(item)
            if expected is None:
                yield item
        if done:
            raise self._changed(done[0], "the end")

    def _check_first(self, item: Item) -> None:
        """Note what the first input is, or compare it: names alone may be those of other files."""
        found, first = self._inputs_before(), fingerprint(item)
        if self._done and found not in ("", first):
            raise InputError(
                f"{self.folder}: was made from other files of these names; --force starts again"
            )
        self._write_recipe(first)

    def _inputs_before(self) -> str:
        """Return what tells the inputs of the recipe that is there from others of their names."""
        return str(_read(self._run_file).get("inputs", ""))

    def _write_recipe(self, inputs: str) -> None:
        content = {"mfrkit": __version__, "command": self._command, "options": self._recipe}
        write_held(self._run_file, json_file({**content, "inputs": inputs}))

    def _changed(self, expected: str, found: str) -> InputError:
        return InputError(
            f"{self.folder}: cannot resume, the inputs changed: expected {expected!r}, "
            f"found {found!r}; --force starts again"
        )

    def add(self, records: list[Record]) -> None:
        """Append what one input gave: to the manifest, the tally and standard output."""
        self.tally.inputs += 1
        for record in records:
            self._write(record)

    def finish(self) -> None:
        """Give the manifest its final name; the run is complete from here on."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self.manifest)
        self._console.record(END)

    def _write(self, record: Record) -> None:
        try:
            line = to_line(record.to_json())
        except (ValueError, RecursionError) as error:
            record = replace(record.skipped(f"no manifest can hold its record: {error}"), blocks={})
            line = to_line(record.to_json())
        if self._file is not None:
            with naming(self._part):
                self._file.write(line.encode() + b"\n")
                self._file.flush()
        self.tally.add(record)
        if record.status == "skipped":
            self._console.detail(f"skipped {record.source!r}: {record.reason}")
        self._console.record(record.to_stream(self._root))

    def _check(self) -> None:
        folder = self.folder
        check_options(folder, self._recipe)
        if self._options.resume or self._options.force:
            return
        if self.manifest.exists():
            raise InputError(f"{folder}: holds a finished run; --force replaces it")
        if self._part.exists():
            raise InputError(
                f"{folder}: holds an unfinished run; --resume continues it, --force starts again"
            )
        others = any(not path.name.startswith(_LOCK) for path in folder.iterdir())
        if others and not any(folder.glob("run*.json")):
            raise InputError(
                f"{folder}: is not empty and no result of mfrkit; name another folder, "
                "or --force writes into it"
            )

    def _withdraw(self) -> None:
        """Remove what earlier runs wrote here, and nothing else."""
        shard = self._options.shard
        pattern = "*" if shard.is_whole else shard.suffix
        finished = self.folder.glob(f"manifest{pattern}.jsonl")
        earlier = [*finished, *self.folder.glob(f".manifest{pattern}.jsonl.part")]
        for path in earlier:  # refuses what leaves the folder before anything is touched
            deque(self._results(path), maxlen=0)
        for path in earlier:
            os.replace(path, path.with_name(f".{path.name.lstrip('.')}{_WITHDRAWN}"))
        self._finish_removal()
        for path in self.folder.glob(f"run{pattern}.json"):
            path.unlink()

    def _finish_removal(self) -> None:
        """Remove the results whose manifests have been withdrawn."""
        shard = self._options.shard
        pattern = "*" if shard.is_whole else f"{shard.suffix}.jsonl*"
        for path in self.folder.glob(f".manifest{pattern}{_WITHDRAWN}"):
            for result in self._results(path):
                result.unlink(missing_ok=True)
            path.unlink()

    def _results(self, manifest: Path) -> Iterator[Path]:
        """Yield the files a manifest's records name; refuse those that lie outside the folder."""
        for record in _readable_records(manifest):
            for name in record.files():
                yield below(self.folder, name)

    def _read_earlier(self) -> list[Record]:
        """Read what an unfinished (or finished) run of the same recipe has done."""
        if not self._options.resume:
            return []
        finished = self.manifest.exists()
        found = list(_readable_records(self.manifest if finished else self._part))
        records = list(takewhile(self._is_there, found))
        if records and not (finished and len(records) == len(found)):
            # The last input may have been cut short between its records: do it again.
            records = [r for r in records if r.source != records[-1].source]
        self._done = list(dict.fromkeys(record.source for record in records))
        if records:
            self._console.info(f"resuming {self.folder}: {len(self._done)} inputs are done")
        return records

    def _is_there(self, record: Record) -> bool:
        """Whether a record's result is on disk, and not emptied by a power failure."""
        try:
            return record.path is None or (self.folder / record.path).stat().st_size > 0
        except OSError:
            return False


def fingerprint(item: Item) -> str:
    """Return what tells an input from another one of its name: a hash of key and content."""
    content = item.record.key.encode("utf-8", "surrogateescape")
    with suppress(ImageError):
        content += _proof(item)
    return sha256(content).hexdigest()


def _proof(item: Item) -> bytes:
    if item.path is None:
        return b""
    return item.path.proof() if isinstance(item.path, Frame) else read_content(item.path)


def source_name(item: Item) -> str:
    """Return what a stage records as the `source` of an input: the file it reads, by its name."""
    return item.record.path or item.record.source


def _readable_records(path: Path) -> Iterator[Record]:
    """Yield the whole lines of a manifest that a kill may have cut short."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number in itertools.count(1):
            where = f"{path}, line {number}"
            line = next_line(file, where)
            if not line.endswith(b"\n"):
                return
            yield Record.from_json(parse_line(line, where), where)
