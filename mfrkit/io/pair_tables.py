"""Pair lists as tables: a header row that names the columns, then one pair a row."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from mfrkit.errors import InputError
from mfrkit.io.pair_lines import Line, Pair, Parsed, listed_key, malformed

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "a": "a key_a path1 path_a image1 image_a img1 file1 first left ref reference enrol id1",
        "b": "b key_b path2 path_b image2 image_b img2 file2 second right probe query id2",
        "same": "same label is_same issame match genuine mated target",
        "fold": "fold split",
    }
)
YES = frozenset(["1", "1.0", "true", "yes", "same", "genuine"])
NO = frozenset(["0", "0.0", "-1", "false", "no", "different", "impostor"])
FOLD = re.compile("[0-9]{1,9}")


def table_delimiter(header: str) -> str | None:
    """Return what separates the columns, if the line names the columns of a pair table."""
    return delimiter_of(header, COLUMNS, needed={"a", "b", "same"})


def delimiter_of(header: str, columns: Mapping[str, str], *, needed: set[str]) -> str | None:
    """Return what separates the columns, if the line names all that are needed.

    Args:
        header: the first line of a file.
        columns: plain name of each column -> its spellings, separated by blanks.
        needed: plain names that must be there.
    """
    for delimiter in ",;\t":
        try:
            names = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            continue
        if needed <= find_columns(names, columns).keys():
            return delimiter
    return None


def find_columns(names: Sequence[str], columns: Mapping[str, str] = COLUMNS) -> dict[str, int]:
    """Return where the columns of a table are, under their plain names.

    Example:
        >>> find_columns(["score", "Path2", "path1", "label"])
        {'a': 2, 'b': 1, 'same': 3}
    """
    plain = [name.strip().lower() for name in names]
    found = {}
    for column, spellings in columns.items():
        places = [plain.index(name) for name in spellings.split() if name in plain]
        if places:
            found[column] = places[0]
    return found


def table_rows(text: str, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that hold something, each with the number of its line.

    Raises:
        InputError: not CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num}: not CSV ({error})") from error


def parse_table(text: str, delimiter: str, where: str) -> Parsed:
    """Read a table; see `mfrkit.io.pair_formats.parse`."""
    rows = table_rows(text, delimiter, where)
    columns = find_columns(next(rows)[1])
    pairs = [table_pair(number, row, columns, where) for number, row in rows]
    if not pairs:
        raise InputError(f"{where}: the table has column names but no pairs")
    return Parsed("csv", pairs, "given" if "fold" in columns else "contiguous")


def table_pair(number: int, row: Sequence[str], columns: Mapping[str, int], where: str) -> Pair:
    """Read one row.

    Args:
        number: of its line.
        row: the cells.
        columns: where `a`, `b`, `same` and perhaps `fold` are.
        where: name of the file, for messages.

    Raises:
        InputError: a cell is missing or not what its column holds.
    """
    line = Line(number, ",".join(row))
    if len(row) <= max(columns.values()):
        raise malformed(where, line, f"at least {max(columns.values()) + 1} columns")
    a, b = listed_key(row[columns["a"]]), listed_key(row[columns["b"]])
    if not a or not b:
        raise malformed(where, line, "two image names")
    same = row[columns["same"]].strip().lower()
    if same not in YES | NO:
        raise malformed(where, line, "1 or 0 (or true, false, same, different) for the label")
    fold = row[columns["fold"]].strip() if "fold" in columns else None
    if fold is not None and not FOLD.fullmatch(fold):
        raise malformed(where, line, "a number for the fold")
    return Pair(a, b, same in YES, number, None if fold is None else int(fold))
