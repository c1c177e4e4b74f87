"""What the readers of pair lists share: a pair, a line, how fields are split and complained of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from mfrkit.errors import InputError
from mfrkit.io.names import composed, key_of


class Pair(NamedTuple):
    """One comparison, and the line it came from; `fold` is None if the list gives none."""

    a: str
    b: str
    same: bool
    line: int
    fold: int | None = None


class Line(NamedTuple):
    """A line that is not blank, stripped, with its number from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Parsed:
    """The pairs of a list and how they fall into folds.

    Attributes:
        format: name of the format, see `mfrkit.io.pair_formats`.
        pairs: in file order.
        folds: `given` with each pair, `contiguous` parts, or `by class` for sorted lists.
    """

    format: str
    pairs: list[Pair]
    folds: Literal["given", "contiguous", "by class"]


def read_text(path: Path, kind: str) -> str:
    """Read a list; its accents are composed, as those of keys are.

    Args:
        path: UTF-8 text, with or without byte-order mark.
        kind: what it should be, for messages: `pair list`.

    Raises:
        InputError: unreadable, not UTF-8, or empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such {kind}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name the {kind} inside it") from error
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a {kind}: byte {error.start} is not UTF-8 text; "
            "convert an older list with `iconv -t utf-8`"
        ) from error
    if "\0" in text:
        raise InputError(f"{path}: not a {kind}: it holds binary data")
    if not text.strip():
        raise InputError(f"{path}: the {kind} is empty")
    return composed(text)


def lines_of(text: str) -> list[Line]:
    """Return the lines that hold something, whatever ends them."""
    raw = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [Line(n, line.strip(" \t")) for n, line in enumerate(raw, 1) if line.strip(" \t")]


def split_fields(text: str, counts: Sequence[int]) -> list[str]:
    """Split at tabs if that gives one of the expected counts, else at any run of blanks."""
    fields = [field.strip(" ") for field in text.split("\t") if field.strip(" ")]
    return fields if "\t" in text and len(fields) in counts else re.split("[ \t]+", text)


def listed_key(path: str) -> str:
    """Return the key of an image path as a list spells it.

    Example:
        >>> listed_key("./Ada/Ada_0001.jpg")
        'Ada/Ada_0001'
    """
    return key_of(path.strip())


def malformed(where: str, line: Line, expected: str) -> InputError:
    """Return the error for a line that is not what its format asks for."""
    got = line.text if len(line.text) <= 80 else f"{line.text[:77]}..."
    return InputError(f"{where}, line {line.number}: expected {expected}, got {got!r}")
