"""What shards leave behind, and the one result it becomes.

A stage that is spread over a cluster ends as it would on one machine: a folder with one manifest,
or one embedding file. Until then the shards' own manifests and files, as `--shard I/N` writes them,
say what is done; a job array that was begun by hand can so be finished by a cluster.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from mfrkit.config import RunOptions, Shard
from mfrkit.console import Console
from mfrkit.errors import InputError, MfrError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import hidden_name, refuse_existing, remove_whole, replacing, temporary_name
from mfrkit.io.manifest import manifest_path, parse_line
from mfrkit.stages.embed import EmbedOptions
from mfrkit.stages.sink import RecordSink, Tally
from mfrkit.stages.vectors import check_alike, join

_SHARD_FILE = re.compile(r"\.?(?:manifest|run|part)-\d+-of-(\d+)\.(?:jsonl|json|h5)(?:\.\w+)?")
_QUIET = Console(-1, passes_records=False)


class FolderParts:
    """Shards of a folder of pictures, each with a manifest of its own."""

    def __init__(self, command: str, options: Any) -> None:
        self._command, self._options = command, options
        self._folder: Path = options.output
        self._run: RunOptions = options.run
        self._manifest = manifest_path(self._folder)

    def is_finished(self) -> bool:
        """Whether the manifest is there; what a kill left of the shards then goes."""
        if self._manifest.exists():
            self._clear()
        return self._manifest.exists()

    def begin(self) -> int | None:
        """See that the output may be written, and remove what `--force` replaces.

        Returns:
            The number of shards an earlier run was split into; None if there is none.

        Raises:
            InputError: the output holds something this run must not touch.
        """
        begun = _count_begun(self._folder, force=self._run.force)
        if begun and not self._run.resume:
            raise _unfinished(self._folder)
        if not begun and self._run.resume and temporary_name(self._manifest).exists():
            raise InputError(
                f"{self._folder}: was begun without --cluster; continue it so, or --force "
                "starts again"
            )
        if begun:
            temporary_name(self._manifest).unlink(missing_ok=True)  # of a join that was killed
        with RecordSink(self._folder, self._command, self._options.recipe(), self._run, _QUIET):
            return begun

    def options_of(self, shard: Shard) -> Any:
        """Return the options with one shard; all write to the same folder."""
        return replace(self._options, run=replace(self._run, shard=shard))

    def join(self, count: int) -> Tally:
        """Interleave the manifests in input order; memory is one line of each.

        Raises:
            MfrError: the shards do not belong together.
        """
        shards = [Shard(index, count) for index in range(1, count + 1)]
        tally = Tally()
        with replacing(self._manifest) as temporary, ExitStack() as stack:
            whole = stack.enter_context(temporary.open("wb"))
            files = [
                stack.enter_context(manifest_path(self._folder, shard.suffix).open("rb"))
                for shard in shards
            ]
            for lines in self._in_input_order(files):
                whole.writelines(lines)
                tally.inputs += 1
                for line in lines:
                    _count(tally, line)
            whole.flush()
            os.fsync(whole.fileno())
            recipe = self._folder / f"run{shards[0].suffix}.json"
            if recipe.exists():  # the first shard began with the first of all inputs
                os.replace(recipe, self._folder / "run.json")
        self._clear()
        return tally

    def _in_input_order(self, files: Sequence[BinaryIO]) -> Iterator[list[bytes]]:
        """Yield the lines of each input: input k of shard i of N is number (k - 1) N + i."""
        for turn in zip_longest(*(self._inputs(file) for file in files)):
            there = [lines is not None for lines in turn]
            if there != sorted(there, reverse=True):
                raise MfrError(
                    f"{self._folder}: the shards were made of different inputs; see that all "
                    "nodes list the same files, then --force"
                )
            yield from filter(None, turn)

    def _inputs(self, file: BinaryIO) -> Iterator[list[bytes]]:
        """Yield the lines that came of one input, which are neighbours of the same source."""
        several = getattr(self._options, "variants", 1) > 1 or (
            getattr(self._options, "select", "") == "all"
        )
        group: list[bytes] = []
        source = None
        for line in file:
            found = json.loads(line).get("source") if several else None
            if group and (not several or found != source):
                yield group
                group = []
            group.append(line)
            source = found
        if group:
            yield group

    def _clear(self) -> None:
        for path in [*self._folder.glob("manifest-*.jsonl"), *self._folder.glob("run-*.json")]:
            if _SHARD_FILE.fullmatch(path.name):
                path.unlink()


class EmbeddingParts:
    """Shards of an embedding file, in a hidden folder beside it."""

    def __init__(self, options: EmbedOptions) -> None:
        self._options = options
        self._output = options.output
        self._folder = options.output.with_name(hidden_name(options.output.name, ".parts"))

    def is_finished(self) -> bool:
        """Whether the file is there; what a kill left of the shards then goes."""
        if self._output.is_file():
            remove_whole(self._folder)
        return self._output.is_file()

    def begin(self) -> int | None:
        """See `FolderParts.begin`."""
        run = self._options.run
        refuse_existing(self._output, force=run.force)
        if run.force:
            self._output.unlink(missing_ok=True)
            remove_whole(self._folder)
        begun = _count_begun(self._folder, force=False)
        if begun and not run.resume:
            raise _unfinished(self._output)
        return begun

    def options_of(self, shard: Shard) -> EmbedOptions:
        """Return the options with one shard and the file it writes."""
        run = replace(self._options.run, shard=shard)
        return replace(self._options, output=self._path(shard), run=run)

    def join(self, count: int) -> Tally:
        """Join the files as `mfrkit merge` does; memory is 16 bytes a row and a block of rows."""
        paths = [self._path(Shard(index, count)) for index in range(1, count + 1)]
        attributes, tally = [], Tally()
        for path in paths:
            with EmbeddingReader(path) as part:
                attributes.append({**part.attributes, "dim": part.dim})
                tally.written += part.count
                for reason in part.texts("skipped_reasons", 0, part.skipped_count):
                    tally.add_skipped(reason)
        check_alike(paths, attributes)
        common = {name: value for name, value in attributes[0].items() if name != "shard"}
        join(paths, self._output, common, in_turn=False)
        remove_whole(self._folder)
        return tally

    def _path(self, shard: Shard) -> Path:
        return self._folder / f"part{shard.suffix}.h5"


Parts = FolderParts | EmbeddingParts
"""The shards of one result."""


def parts_of(command: str, options: Any) -> Parts:
    """Return the parts of a stage's result, by the kind of its options."""
    if isinstance(options, EmbedOptions):
        return EmbeddingParts(options)
    return FolderParts(command, options)


def _count_begun(folder: Path, *, force: bool) -> int | None:
    """Return the number of shards that the files of a folder speak of; refuse a mixture."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() and not force else []
    counts = {int(match[1]) for name in names if (match := _SHARD_FILE.fullmatch(name))}
    if len(counts) > 1:
        raise InputError(
            f"{folder}: holds shards of different counts: {sorted(counts)}; --force starts again"
        )
    return next(iter(counts), None)


def _unfinished(output: Path) -> InputError:
    return InputError(
        f"{output}: holds an unfinished run; --resume continues it, --force starts again"
    )


def _count(tally: Tally, line: bytes) -> None:
    fields = parse_line(line, "")
    if fields.get("status") == "skipped":
        tally.add_skipped(str(fields.get("reason") or "unknown"))
    else:
        tally.written += 1
