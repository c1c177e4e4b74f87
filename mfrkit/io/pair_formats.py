"""The text formats of pair lists, one parser each, and how they are told apart.

lfw       A header of one number (pairs per class) or two (folds, and pairs per class and fold);
          then `name i j` (one person) or `name i name j` (two, or one named twice).
          The key of image i is `name/name_000i`.
mfr2      The same lines without header (MFR2, RFW).
paths     `a b 0|1`; with tabs between the fields, paths may hold spaces.
two-line  `image label`, two lines a pair, non-zero meaning one person (CALFW, CPLFW).
csv       A header row that names the columns, then one pair a row; comma, semicolon or tab.
          The scores that `mfrkit eval` writes are such a file.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from mfrkit.errors import InputError
from mfrkit.io.names import strip_suffix

_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "a": "a key_a path1 path_a image1 image_a img1 file1 first left ref reference enrol id1",
        "b": "b key_b path2 path_b image2 image_b img2 file2 second right probe query id2",
        "same": "same label is_same issame match genuine mated target",
        "fold": "fold split",
    }
)
_YES = frozenset(["1", "1.0", "true", "yes", "same", "genuine"])
_NO = frozenset(["0", "0.0", "-1", "false", "no", "different", "impostor"])
_NUMBER = re.compile("[0-9]{1,9}")


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
        format: name of the format, see the module.
        pairs: in file order.
        folds: `given` with each pair, `contiguous` parts, or `by class` for sorted lists.
    """

    format: str
    pairs: list[Pair]
    folds: Literal["given", "contiguous", "by class"]


def parse(text: str, where: str) -> Parsed:
    """Recognise the format of a pair list and read it.

    Args:
        text: the whole list.
        where: name of the file, for messages.

    Raises:
        InputError: no known format, a malformed line, or a header that promises other counts.

    Example:
        >>> parse("Ada 1 2", "pairs.txt").pairs
        [Pair(a='Ada/Ada_0001', b='Ada/Ada_0002', same=True, line=1, fold=None)]
    """
    raw = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [Line(n, line.strip(" \t")) for n, line in enumerate(raw, 1) if line.strip(" \t")]
    if not lines:
        raise InputError(f"{where}: the pair list is empty")
    delimiter = _table_delimiter(lines[0].text)
    if delimiter:
        return _parse_table(text, delimiter, where)
    first = _split(lines[0].text, (1, 2, 3, 4))
    second = _split(lines[1].text, (2, 3, 4)) if len(lines) > 1 else []
    if _are_numbers(first) and (len(first) == 1 or (len(first) == 2 and len(second) != 2)):
        return _parse_lfw(lines, [int(number) for number in first], where)
    if len(first) == 2:
        return _parse_two_line(lines, where)
    if len(first) == 4 or (len(first) == 3 and _holds_names(lines, first)):
        return Parsed("mfr2", [_named_pair(line, where) for line in lines], "contiguous")
    if len(first) == 3:
        return Parsed("paths", [_path_pair(line, where) for line in lines], "contiguous")
    raise _malformed(
        where, lines[0], "a header, `name i j`, `name i name j`, `a b 0|1` or CSV column names"
    )


def _holds_names(lines: Sequence[Line], first: Sequence[str]) -> bool:
    """Tell `name i j` from `a b 0|1` where the first line could be either."""
    if not _are_numbers(first[1:]):
        return False
    rows = [_split(line.text, (3, 4)) for line in lines]
    labels = {row[-1] for row in rows}
    # `7 8 1`: numbered image files rather than people, if both labels and nothing else occur.
    return any(len(row) == 4 for row in rows) or labels != {"0", "1"}


def _parse_lfw(lines: Sequence[Line], header: Sequence[int], where: str) -> Parsed:
    per_class, folds = header[-1], header[0] if len(header) == 2 else 1
    block = max(1, 2 * per_class)
    pairs = [_named_pair(line, where, place // block) for place, line in enumerate(lines[1:])]
    promised = 2 * per_class * folds
    if len(pairs) != promised or promised == 0:
        shape = f"{folds} folds of {per_class} + {per_class}" if len(header) == 2 else ""
        raise InputError(
            f"{where}: the header `{lines[0].text}` promises {promised} pairs"
            f"{f' ({shape})' if shape else ''}, but {len(pairs)} follow; is the list cut short?"
        )
    return Parsed("lfw", pairs, "given" if len(header) == 2 else "by class")


def _named_pair(line: Line, where: str, fold: int | None = None) -> Pair:
    """Read `name i j` or `name i name j`."""
    fields = _split(line.text, (3, 4))
    numbers = fields[1:] if len(fields) == 3 else fields[1::2]
    if len(fields) not in (3, 4) or not _are_numbers(numbers):
        raise _malformed(where, line, "`name i j` or `name i name j`")
    name_a, name_b = fields[0], fields[0] if len(fields) == 3 else fields[2]
    keys = [f"{n}/{n}_{int(i):04d}" for n, i in zip((name_a, name_b), numbers, strict=True)]
    return Pair(keys[0], keys[1], name_a == name_b, line.number, fold)


def _path_pair(line: Line, where: str) -> Pair:
    fields = _split(line.text, (3,))
    if len(fields) != 3 or fields[2] not in ("0", "1"):
        raise _malformed(
            where, line, "`a b 0` or `a b 1` (separate the fields by tabs if a path holds spaces)"
        )
    return Pair(_key(fields[0]), _key(fields[1]), fields[2] == "1", line.number)


def _parse_two_line(lines: Sequence[Line], where: str) -> Parsed:
    images = [_labelled_image(line, where) for line in lines]
    if len(images) % 2:
        raise _malformed(where, lines[-1], "two lines a pair; the second image is missing")
    pairs = []
    for place in range(0, len(images), 2):
        (a, same), (b, same_again) = images[place : place + 2]
        if same != same_again:
            raise _malformed(where, lines[place + 1], "the same label as on the line before")
        pairs.append(Pair(a, b, same, lines[place].number))
    return Parsed("two-line", pairs, "by class")


def _labelled_image(line: Line, where: str) -> tuple[str, bool]:
    fields = _split(line.text, (2,))
    if len(fields) != 2 or not re.fullmatch("-?[0-9]{1,9}", fields[1]):
        raise _malformed(where, line, "`image label`")
    return _key(fields[0]), int(fields[1]) != 0


def _table_delimiter(header: str) -> str | None:
    """Return what separates the columns, if the line names the columns of a pair table."""
    for delimiter in ",;\t":
        try:
            names = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            continue
        if {"a", "b", "same"} <= _find_columns(names).keys():
            return delimiter
    return None


def _find_columns(names: Sequence[str]) -> dict[str, int]:
    plain = [name.strip().lower() for name in names]
    found = {}
    for column, spellings in _COLUMNS.items():
        places = [plain.index(name) for name in spellings.split() if name in plain]
        if places:
            found[column] = places[0]
    return found


def _parse_table(text: str, delimiter: str, where: str) -> Parsed:
    rows = _table_rows(text, delimiter, where)
    columns = _find_columns(next(rows)[1])
    pairs = [_table_pair(number, row, columns, where) for number, row in rows]
    if not pairs:
        raise InputError(f"{where}: the table has column names but no pairs")
    return Parsed("csv", pairs, "given" if "fold" in columns else "contiguous")


def _table_rows(text: str, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num}: not CSV ({error})") from error


def _table_pair(number: int, row: list[str], columns: dict[str, int], where: str) -> Pair:
    line = Line(number, ",".join(row))
    if len(row) <= max(columns.values()):
        raise _malformed(where, line, f"at least {max(columns.values()) + 1} columns")
    a, b = _key(row[columns["a"]]), _key(row[columns["b"]])
    if not a or not b:
        raise _malformed(where, line, "two image names")
    same = row[columns["same"]].strip().lower()
    if same not in _YES | _NO:
        raise _malformed(where, line, "1 or 0 (or true, false, same, different) for the label")
    fold = row[columns["fold"]].strip() if "fold" in columns else None
    if fold is not None and not _NUMBER.fullmatch(fold):
        raise _malformed(where, line, "a number for the fold")
    return Pair(a, b, same in _YES, number, None if fold is None else int(fold))


def _key(path: str) -> str:
    """Return the key of an image path as a list spells it."""
    return strip_suffix(path.strip().removeprefix("./"))


def _split(text: str, counts: Sequence[int]) -> list[str]:
    """Split at tabs if that gives one of the expected counts, else at any run of blanks."""
    fields = [field.strip(" ") for field in text.split("\t") if field.strip(" ")]
    return fields if "\t" in text and len(fields) in counts else re.split("[ \t]+", text)


def _are_numbers(fields: Sequence[str]) -> bool:
    return all(_NUMBER.fullmatch(field) for field in fields)


def _malformed(where: str, line: Line, expected: str) -> InputError:
    got = line.text if len(line.text) <= 80 else f"{line.text[:77]}..."
    return InputError(f"{where}, line {line.number}: expected {expected}, got {got!r}")
