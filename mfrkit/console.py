"""Where words go: data to standard output, narration and progress to standard error.

The only module that uses rich and tqdm. A terminal gets tables and bars; a pipe gets
tab-separated rows and NDJSON, without colour or animation.
"""

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

# What a terminal obeys, or what turns the order of letters round; and halves of characters.
_OBEYED = re.compile(r"[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    r"""Return text in one line of which a terminal obeys nothing, whatever names occur in it.

    Args:
        text: to be shown.
        keep: characters that stay what they are.

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
    return cell.lstrip("-")[:1].isdigit() or cell in ("", "-", "nan", "n/a")


def to_line(record: Mapping[str, object]) -> str:
    """Serialise one record as a single line of JSON without the line feed.

    Text stays readable UTF-8; a file name that is not valid UTF-8 (held as lone surrogates) is
    escaped instead, so that every name survives the round trip. Numbers that are not finite, which
    JSON does not know, become null.

    Example:
        >>> to_line({"key": "Zoë"})
        '{"key": "Zoë"}'
    """
    try:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return to_line(_finite(record))
    try:
        line.encode()
    except UnicodeEncodeError:
        return json.dumps(record, ensure_ascii=True, allow_nan=False)
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
    """

    def __init__(self, verbosity: int = 0, *, passes_records: bool = True) -> None:
        self.verbosity = verbosity
        self._passes_records = passes_records
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
        """Pass one record to the next command of a pipeline; a terminal is spared them."""
        if self._passes_records and not self.is_terminal_out:
            self.data(to_line(record))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows as a table on a terminal, as tab-separated values elsewhere."""
        rows = [[printable(cell) for cell in row] for row in rows]
        if not self.is_terminal_out:
            for row in (columns, *rows):
                self.data("\t".join(row))
            return
        from rich.console import Console as RichConsole
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for place, column in enumerate(columns):
            numeric = place > 0 and all(_is_number(row[place]) for row in rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        RichConsole().print(table)

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

        Args:
            label: what is worked for.
            total: units of work, None if nobody knows.
            unit: of work.
            done: units done before, drawn as done; rate and time left are this run's own.
        """
        if not self.shows_progress:
            yield _Silent()
            return
        from tqdm import tqdm

        with tqdm(
            total=total,
            initial=done,
            desc=label,
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
