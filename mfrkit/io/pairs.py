"""Pair lists: which images to compare, whether they show one person, and in which fold.

The format is recognised from the content, so that lists are read as published (LFW, MFR2, RFW,
CALFW, CPLFW, MLFW):

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
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.files import composed, key_of


class Pair(NamedTuple):
    """One comparison, and the line it came from; `fold` is None if the list gives none."""

    a: str
    b: str
    same: bool
    line: int
    fold: int | None = None


class Line(NamedTuple):
    """A line of the list `where` that is not blank, stripped; numbers begin with 1."""

    where: str
    number: int
    text: str

    def malformed(self, expected: str) -> InputError:
        """Return the error for a line that is not what its format asks for."""
        got = self.text if len(self.text) <= 80 else f"{self.text[:77]}..."
        return InputError(f"{self.where}, line {self.number}: expected {expected}, got {got!r}")


class HeadedList(NamedTuple):
    """A list whose first line names its columns; blank rows are left out."""

    names: Sequence[str]
    columns: dict[str, int]  # where those are that are known, by their plain names
    rows: Iterator[tuple[Line, list[str]]]


class Parsed(NamedTuple):
    """The pairs of a list, in file order, its format, and how they fall into folds."""

    format: str
    pairs: list[Pair]
    folds: Literal["given", "contiguous", "by class"]


def read_text(path: Path, kind: str) -> str:
    """Read a list in UTF-8, its accents composed as in keys; what is no text is an InputError."""
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


def lines_of(text: str, where: str) -> list[Line]:
    """Return the lines that hold something, whatever ends them."""
    raw = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    stripped = ((number, line.strip(" \t")) for number, line in enumerate(raw, 1))
    return [Line(where, number, line) for number, line in stripped if line]


def split_fields(text: str, counts: Sequence[int]) -> list[str]:
    """Split at tabs if that gives one of the expected counts, else at any run of blanks."""
    fields = [field.strip(" ") for field in text.split("\t") if field.strip(" ")]
    return fields if "\t" in text and len(fields) in counts else re.split("[ \t]+", text)


def listed_key(path: str) -> str:
    """Return the key of an image path as a list spells it."""
    return key_of(path.strip())


COLUMNS: Mapping[str, str] = {
    "a": "a key_a path1 path_a image1 image_a img1 file1 first left ref reference enrol id1",
    "b": "b key_b path2 path_b image2 image_b img2 file2 second right probe query id2",
    "same": "same label is_same issame match genuine mated target",
    "fold": "fold split",
}
YES = frozenset(["1", "1.0", "true", "yes", "same", "genuine"])
NO = frozenset(["0", "0.0", "-1", "false", "no", "different", "impostor"])
_NUMBER = re.compile("[0-9]{1,9}")
_PAIR = frozenset(["a", "b", "same"])


def table_in(
    text: str, where: str, columns: Mapping[str, str] = COLUMNS, needed: Set[str] = _PAIR
) -> HeadedList | None:
    """Open a list as a table, if its first line names all columns that are needed.

    `columns` maps the plain name of each column to its spellings, separated by blanks.
    """
    for delimiter in ",;\t":
        rows = _table_rows(text, where, delimiter)
        try:
            _, names = next(rows, (None, ()))
        except InputError:  # not CSV
            continue
        plain, found = [name.strip().lower() for name in names], {}
        for column, spellings in columns.items():
            places = [plain.index(name) for name in spellings.split() if name in plain]
            if places:
                found[column] = places[0]
        if needed <= found.keys():
            return HeadedList(names, found, rows)
    return None


def _table_rows(text: str, where: str, delimiter: str) -> Iterator[tuple[Line, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield Line(where, reader.line_num, delimiter.join(row)), row
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num}: not CSV ({error})") from error


def table_pair(line: Line, row: Sequence[str], columns: Mapping[str, int]) -> Pair:
    """Read one row of a table, given where `a`, `b`, `same` and perhaps `fold` are."""
    if len(row) <= max(columns.values()):
        raise line.malformed(f"at least {max(columns.values()) + 1} columns")
    a, b = listed_key(row[columns["a"]]), listed_key(row[columns["b"]])
    if not a or not b:
        raise line.malformed("two image names")
    same = row[columns["same"]].strip().lower()
    if same not in YES | NO:
        raise line.malformed("1 or 0 (or true, false, same, different) for the label")
    fold = row[columns["fold"]].strip() if "fold" in columns else None
    if fold is not None and not _NUMBER.fullmatch(fold):
        raise line.malformed("a number for the fold")
    return Pair(a, b, same in YES, line.number, None if fold is None else int(fold))


def parse(text: str, where: str) -> Parsed:
    """Recognise the format of a pair list and read it."""
    lines = lines_of(text, where)
    if not lines:
        raise InputError(f"{where}: the pair list is empty")
    table = table_in(text, where)
    if table:
        pairs = [table_pair(line, row, table.columns) for line, row in table.rows]
        if not pairs:
            raise InputError(f"{where}: the table has column names but no pairs")
        return Parsed("csv", pairs, "given" if "fold" in table.columns else "contiguous")
    first = split_fields(lines[0].text, (1, 2, 3, 4))
    second = split_fields(lines[1].text, (2, 3, 4)) if len(lines) > 1 else []
    if _are_numbers(first) and (len(first) == 1 or (len(first) == 2 and len(second) != 2)):
        return _parse_lfw(lines, [int(number) for number in first])
    if len(first) == 2:
        return _parse_two_line(lines)
    if len(first) == 4 or (len(first) == 3 and _holds_names(lines, first)):
        return Parsed("mfr2", list(map(_named_pair, lines)), "contiguous")
    if len(first) == 3:
        return Parsed("paths", list(map(_path_pair, lines)), "contiguous")
    raise lines[0].malformed("a header, `name i j`, `name i name j`, `a b 0|1` or CSV column names")


def _holds_names(lines: Sequence[Line], first: Sequence[str]) -> bool:
    """Tell `name i j` from `a b 0|1` where the first line could be either."""
    if not _are_numbers(first[1:]):
        return False
    rows = [split_fields(line.text, (3, 4)) for line in lines]
    labels = {row[-1] for row in rows}
    # `7 8 1`: numbered image files rather than people, if both labels and nothing else occur.
    return any(len(row) == 4 for row in rows) or labels != {"0", "1"}


def _parse_lfw(lines: Sequence[Line], header: Sequence[int]) -> Parsed:
    per_class, folds = header[-1], header[0] if len(header) == 2 else 1
    block = max(1, 2 * per_class)
    pairs = [_named_pair(line, place // block) for place, line in enumerate(lines[1:])]
    promised = 2 * per_class * folds
    if len(pairs) != promised or promised == 0:
        shape = f" ({folds} folds of {per_class} + {per_class})" if len(header) == 2 else ""
        raise InputError(
            f"{lines[0].where}: the header `{lines[0].text}` promises {promised} pairs{shape}, "
            f"but {len(pairs)} follow; is the list cut short?"
        )
    return Parsed("lfw", pairs, "given" if len(header) == 2 else "by class")


def _named_pair(line: Line, fold: int | None = None) -> Pair:
    """Read `name i j` or `name i name j`."""
    fields = split_fields(line.text, (3, 4))
    numbers = fields[1:] if len(fields) == 3 else fields[1::2]
    if len(fields) not in (3, 4) or not _are_numbers(numbers):
        raise line.malformed("`name i j` or `name i name j`")
    name_a, name_b = fields[0], fields[0] if len(fields) == 3 else fields[2]
    keys = [f"{n}/{n}_{int(i):04d}" for n, i in zip((name_a, name_b), numbers, strict=True)]
    return Pair(keys[0], keys[1], name_a == name_b, line.number, fold)


def _path_pair(line: Line) -> Pair:
    fields = split_fields(line.text, (3,))
    if len(fields) != 3 or fields[2] not in ("0", "1"):
        raise line.malformed(
            "`a b 0` or `a b 1` (separate the fields by tabs if a path holds spaces)"
        )
    return Pair(listed_key(fields[0]), listed_key(fields[1]), fields[2] == "1", line.number)


def _parse_two_line(lines: Sequence[Line]) -> Parsed:
    images = list(map(_labelled_image, lines))
    if len(images) % 2:
        raise lines[-1].malformed("two lines a pair; the second image is missing")
    pairs = []
    for place in range(0, len(images), 2):
        (a, same), (b, same_again) = images[place : place + 2]
        if same != same_again:
            raise lines[place + 1].malformed("the same label as on the line before")
        pairs.append(Pair(a, b, same, lines[place].number))
    return Parsed("two-line", pairs, "by class")


def _labelled_image(line: Line) -> tuple[str, bool]:
    fields = split_fields(line.text, (2,))
    if len(fields) != 2 or not re.fullmatch("-?[0-9]{1,9}", fields[1]):
        raise line.malformed("`image label`")
    return listed_key(fields[0]), int(fields[1]) != 0


def _are_numbers(fields: Sequence[str]) -> bool:
    return all(_NUMBER.fullmatch(field) for field in fields)


FOLDS = 10  # of a list that defines none, as in every LFW-style benchmark


@dataclass(frozen=True, eq=False)
class PairList:
    """The P pairs of a list, in file order."""

    path: Path
    format: str  # `lfw`, `mfr2`, `paths`, `two-line` or `csv`
    a: list[str]  # key of each first image: relative path without image suffix
    b: list[str]  # key of each second image
    same: NDArray[np.bool_]  # (P,) bool, whether the two show one person
    fold: NDArray[np.int64]  # (P,) int64, the fold of each pair
    line: NDArray[np.int64]  # (P,) int64, line of the file, from 1, for messages

    def __len__(self) -> int:
        return len(self.a)

    def keys(self) -> frozenset[str]:
        """Return the keys of all images the list names."""
        return frozenset(self.a + self.b)

    def images(self) -> str:
        """Say which images the list names, by content: lists of the same images say the same."""
        keys = sorted(self.keys())
        digest = hashlib.sha256("\n".join(keys).encode("utf-8", "surrogatepass")).hexdigest()
        return f"{len(keys)} images, sha256 {digest[:16]}"


def read_pairs(path: Path) -> PairList:
    """Read a pair list of any supported format.

    Convention:
        The folds are those the list defines: blocks of an LFW list with two header numbers, or a
        `fold` column. Lists sorted by class (CALFW, CPLFW, LFW's development lists) are dealt out
        so that each of ten folds gets its share of both classes. All others are cut into ten
        contiguous parts, the earlier ones larger by one where the number does not divide.

    Args:
        path: UTF-8 text, with or without byte-order mark, any line ending, blank lines ignored.

    Raises:
        InputError: unreadable, not UTF-8, empty, of no known format, a malformed line (which one
            is said), or fewer or more pairs than the header promises.
    """
    return pair_list(path, parse(read_text(path, "pair list"), str(path)))


def pair_list(path: Path, parsed: Parsed) -> PairList:
    """Arrange parsed pairs; see `read_pairs` for the folds."""
    pairs = parsed.pairs
    same = np.array([pair.same for pair in pairs], dtype=bool)
    return PairList(
        path=path,
        format=parsed.format,
        a=[pair.a for pair in pairs],
        b=[pair.b for pair in pairs],
        same=same,
        fold=_folds(parsed, pairs, same),
        line=np.array([pair.line for pair in pairs], dtype=np.int64),
    )


def _folds(parsed: Parsed, pairs: list[Pair], same: NDArray[np.bool_]) -> NDArray[np.int64]:
    if parsed.folds == "given":
        return np.array([pair.fold for pair in pairs], dtype=np.int64)
    if parsed.folds == "contiguous":
        return contiguous_folds(len(pairs), FOLDS)
    fold = np.empty(len(pairs), dtype=np.int64)
    for kind in (True, False):
        chosen = same == kind
        fold[chosen] = contiguous_folds(int(chosen.sum()), FOLDS)
    return fold


def contiguous_folds(count: int, folds: int) -> NDArray[np.int64]:
    """Cut a row of items into parts as equal as possible, larger ones first; none is empty.

    Returns:
        (count,) int64, the part of each item, from 0.

    Example:
        >>> contiguous_folds(7, 3).tolist()
        [0, 0, 0, 1, 1, 2, 2]
    """
    parts = np.array_split(np.arange(count), min(folds, max(count, 1)))
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])
