"""The result folder of a per-image stage: its manifest, its recipe, and how a run continues.

While a run lasts its records go to a hidden part file, in input order; the rename to
`manifest.jsonl` is the last thing a run does, so a manifest that is there is complete. The recipe
(`run.json`: the command and every option that shapes the result) is written first, so that a
continued run can refuse to mix two kinds of result in one folder.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mfrkit.config import RunOptions
from mfrkit.console import Console, to_line
from mfrkit.errors import InputError
from mfrkit.io.files import naming, temporary_name
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record, manifest_path, parse_line
from mfrkit.stages.recipe import check_options, refuse_other_commands, write_recipe


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

    def __enter__(self) -> "RecordSink":
        refuse_other_commands(self.folder, self._command)
        if self._options.force and any(self.folder.glob("run*.json")):
            self._clear()  # only what this command made: a manifest alone may be the user's own
        self._check()
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = self._read_earlier()
        write_recipe(self._run_file, self._command, self._recipe)
        self._file = self._part.open("wb")
        for record in earlier:
            self._write(record)
        self.tally.inputs = len(self._done)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if not self.tally.total:  # nothing happened: leave no trace that a rerun would trip over
            self._part.unlink(missing_ok=True)
            self._run_file.unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()

    def pending(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the inputs the continued run had not finished.

        Raises:
            InputError: the inputs are not those of the run that is continued.
        """
        done = iter(self._done)
        for item in items:
            expected = next(done, None)
            if expected is None:
                yield item
            elif expected != source_name(item):
                raise InputError(
                    f"{self.folder}: cannot resume, the inputs changed: expected {expected!r}, "
                    f"found {source_name(item)!r}; --force starts again"
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

    def _write(self, record: Record) -> None:
        if self._file is not None:
            with naming(self._part):
                self._file.write(to_line(record.to_json()).encode() + b"\n")
                self._file.flush()
        self.tally.add(record)
        if record.status == "skipped":
            self._console.detail(f"skipped {record.source!r}: {record.reason}")
        self._console.record({"root": self._root, **record.to_json()})

    def _check(self) -> None:
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; name a folder to write to")
        check_options(folder, self._recipe)
        if self._options.resume or self._options.force:
            return
        if self.manifest.exists():
            raise InputError(f"{folder}: holds a finished run; --force replaces it")
        if self._part.exists():
            raise InputError(
                f"{folder}: holds an unfinished run; --resume continues it, --force starts again"
            )
        if folder.is_dir() and any(folder.iterdir()) and not any(folder.glob("run*.json")):
            raise InputError(
                f"{folder}: is not empty and no result of mfrkit; name another folder, "
                "or --force writes into it"
            )

    def _clear(self) -> None:
        """Remove what earlier runs wrote here, and nothing else."""
        shard = self._options.shard
        pattern = "" if shard.is_whole else shard.suffix
        names = [self.manifest] if pattern else [*self.folder.glob("manifest*.jsonl")]
        parts = [self._part] if pattern else [*self.folder.glob(".manifest*.jsonl.part")]
        for path in (*names, *parts):
            for record in _readable_records(path):
                for name in record.files():
                    (self.folder / name).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        for path in self.folder.glob(f"run{pattern or '*'}.json"):
            path.unlink()

    def _read_earlier(self) -> list[Record]:
        """Read what an unfinished (or finished) run of the same recipe has done."""
        if not self._options.resume:
            return []
        finished = self.manifest.exists()
        records = list(_readable_records(self.manifest if finished else self._part))
        if not finished and records:
            # The last input may have been cut short between its records: do it again.
            records = [r for r in records if r.source != records[-1].source]
        self._done = list(dict.fromkeys(record.source for record in records))
        if records:
            self._console.info(f"resuming {self.folder}: {len(self._done)} inputs are done")
        return records


def source_name(item: Item) -> str:
    """Return what a stage records as the `source` of an input: the file it reads, by its name."""
    return item.record.path or item.record.source


def _readable_records(path: Path) -> Iterator[Record]:
    """Yield the whole lines of a manifest that a kill may have cut short."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            where = f"{path}, line {number}"
            yield Record.from_json(parse_line(line, where), where)
