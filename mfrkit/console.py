"""Where words go: data to standard output, narration and progress to standard error.

The only module that uses rich and tqdm. A terminal gets tables and bars; a pipe gets
tab-separated rows and NDJSON, without colour or animation.
"""

import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from glob import glob
from typing import Any, Protocol

_FRAME = 3  # a column's border and margins in a table on a terminal
# What a terminal obeys, or what turns the order of letters round; and halves of characters.
_OBEYED = re.compile(r"[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    r"""Return text in one line of which a terminal obeys nothing; the letters in `keep` stay.

    Example:
        >>> print(printable("a\x1b[31m.jpg\n"))
        a\x1b[31m.jpg\n
    """

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        return found if found in keep else found.encode("unicode_escape").decode()

    return _OBEYED.sub(escaped, text)


def open_streams() -> None:
    """Give a process that was started without them its standard input, output and error.

    Without this the next file it opens would take their place and be written into.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number)
            if nowhere != number:
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


class Progress(Protocol):
    """What a stage may tell about its advance."""

    def update(self, n: int = 1) -> object:
        """Count `n` more inputs as finished."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> object:
        """Show a short remark behind the bar."""


class _Silent:
    """A progress bar that shows nothing."""

    def update(self, n: int = 1) -> None:
        """Ignore the advance."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Ignore the remark."""


def _is_number(cell: str) -> bool:
    """Whether a cell reads as a figure, perhaps with a unit or a mark behind it."""
    return cell.lstrip("-")[:1].isdigit() or cell in ("", "-", "nan") or cell.startswith("n/a")


def _widths(name: str, cells: Sequence[str], most: int) -> list[int]:
    """Return how wide a column is that breaks no word (up to `most`), no cell, nothing at all."""
    words = (word for cell in (name, *cells) for word in cell.split())
    least = min(max(map(len, words), default=1), most)
    cell = max(least, *map(len, cells)) if cells else least
    return [least, cell, max(cell, len(name))]


def _parts(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Iterator[list[tuple[int, int]]]:
    """Part a table into ones that fit a width, each with the first column: places and widths."""
    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    found = [_widths(*each, width // 2) for each in zip(columns, cells, strict=True)]
    first, *others = enumerate(found)
    while True:
        taken, room = [first], width - 1 - _FRAME - first[1][0]
        while others and (room >= others[0][1][0] + _FRAME or len(taken) == 1):
            taken.append(others.pop(0))
            room -= taken[-1][1][0] + _FRAME
        part = {place: widths[0] for place, widths in taken}
        for wish in (1, 2):  # room that is left goes to cells before it goes to headings
            for place, widths in taken:
                more = max(0, min(widths[wish] - part[place], room))
                part[place] += more
                room -= more
        yield list(part.items())
        if not others:
            return


def _takes_records() -> bool:
    """Whether standard output leads elsewhere than standard error; a mixture nobody can read."""
    try:
        out, err = (os.fstat(stream.fileno()) for stream in (sys.stdout, sys.stderr))
    except (OSError, ValueError):  # not files of the system
        return True
    return not os.path.samestat(out, err)


def _feeds_a_command() -> bool:
    """Whether standard output is some process's standard input; True where nobody can tell."""
    try:
        out = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return True
    if not stat.S_ISFIFO(out.st_mode):
        return stat.S_ISSOCK(out.st_mode)
    others = [path for path in glob("/proc/[0-9]*/fd/0") if f"/{os.getpid()}/" not in path]
    return not others or any(_is(path, out) for path in others)


def _is(path: str, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), file)
    except OSError:  # the process has gone, or is somebody else's
        return False


def to_line(record: Mapping[str, object], *, compact: bool = False) -> str:
    """Serialise one record as a single line of JSON without the line feed.

    Text stays readable UTF-8; a file name that is not valid UTF-8 (held as lone surrogates) is
    escaped instead, so that every name survives the round trip. Numbers that are not finite, which
    JSON does not know, become null. People read it better with spaces, which `compact` spares.

    Example:
        >>> to_line({"key": "Zoë"})
        '{"key": "Zoë"}'
    """
    separators = (",", ":") if compact else None
    try:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=separators)
    except ValueError:
        return to_line(_finite(record), compact=compact)
    try:
        line.encode()
    except UnicodeEncodeError:
        return json.dumps(record, ensure_ascii=True, allow_nan=False, separators=separators)
    return line


def _finite(value: Any) -> Any:
    """Return JSON data with null for every number that is not finite."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Console:
    """Standard output and standard error of one command.

    Args:
        verbosity: -1 quiet (errors only), 0 normal, 1 verbose.
        passes_records: whether records go on to the next command of a pipeline.
        about: what the run works for, named behind each bar's label.
    """

    def __init__(self, verbosity: int = 0, *, passes_records: bool = True, about: str = "") -> None:
        self.verbosity = verbosity
        self._passes_records = passes_records
        self._about = about
        self._bar: Any = None

    @property
    def is_terminal_out(self) -> bool:
        """Whether a person reads standard output."""
        return sys.stdout.isatty()

    def data(self, text: str) -> None:
        """Write one line of results to standard output at once."""
        shown = printable(text, keep="\n\t") if self.is_terminal_out else text
        sys.stdout.write(shown + "\n")
        sys.stdout.flush()

    def record(self, record: Mapping[str, object]) -> None:
        """Pass one record to the next command of a pipeline, or to a file that keeps them.

        A terminal is spared them, a log that takes standard error as well, and with `--quiet`
        whatever is not another command's input.
        """
        if self._streams:
            self.data(to_line(record, compact=True))

    @cached_property
    def _streams(self) -> bool:
        if not self._passes_records or self.is_terminal_out or not _takes_records():
            return False
        return self.verbosity >= 0 or _feeds_a_command()

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows as a table on a terminal, as tab-separated values elsewhere."""
        columns, *rows = ([printable(cell) for cell in row] for row in (columns, *rows))
        if not self.is_terminal_out:
            for row in (columns, *rows):
                self.data("\t".join(row))
            return
        from rich.console import Console as RichConsole
        from rich.table import Table

        screen = RichConsole(markup=False)  # names may have brackets
        for number, part in enumerate(_parts(columns, rows, screen.width)):
            table = Table(title="" if number else title, title_justify="left")
            for place, width in part:
                right = place > 0 and all(_is_number(row[place]) for row in rows)
                table.add_column(
                    columns[place],
                    justify="right" if right else "left",
                    overflow="fold",
                    width=width,
                )
            for row in rows:
                table.add_row(*(row[place] for place, _ in part))
            screen.print(table)

    def info(self, text: str) -> None:
        """Narrate; silent with `--quiet`."""
        if self.verbosity >= 0:
            self._say(text)

    def detail(self, text: str) -> None:
        """Narrate what only `--verbose` asks for."""
        if self.verbosity >= 1:
            self._say(text)

    def warn(self, text: str) -> None:
        """Say what the user should know although the run goes on; silent with `--quiet`."""
        self.info(f"warning: {text}")

    def error(self, text: str) -> None:
        """Say why the run stops; never silent."""
        self._say(text)

    @contextmanager
    def progress(
        self, label: str, total: int | None, *, unit: str = "img", done: int = 0
    ) -> Iterator[Progress]:
        """Show a bar on standard error while the block runs, when a person watches.

        `done` units were done before; rate and time left are this run's own.
        """
        if not self.shows_progress:
            yield _Silent()
            return
        from tqdm import tqdm

        with tqdm(
            total=total,
            initial=done,
            desc=f"{label} {self._about}".rstrip(),
            unit=unit,
            smoothing=0,
            dynamic_ncols=True,
            leave=False,
        ) as self._bar:
            try:
                yield self._bar
            finally:
                self._bar = None

    @property
    def shows_progress(self) -> bool:
        """Whether `progress` draws a bar, so that counting inputs beforehand is worth it."""
        animated = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        return self.verbosity >= 0 and animated

    def _say(self, text: str) -> None:
        try:
            # A line goes above the bar, which is drawn again below it.
            with nullcontext() if self._bar is None else self._bar.external_write_mode(sys.stderr):
                sys.stderr.write(f"mfrkit: {printable(text)}\n")
                sys.stderr.flush()
        except BrokenPipeError:  # nobody listens any more; that is no reason to fail
            pass
