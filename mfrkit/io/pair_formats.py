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

import re
from collections.abc import Sequence

from mfrkit.errors import InputError
from mfrkit.io.pair_lines import Line, Pair, Parsed, lines_of, listed_key, malformed, split_fields
from mfrkit.io.pair_tables import parse_table, table_delimiter

_NUMBER = re.compile("[0-9]{1,9}")


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
    lines = lines_of(text)
    if not lines:
        raise InputError(f"{where}: the pair list is empty")
    delimiter = table_delimiter(lines[0].text)
    if delimiter:
        return parse_table(text, delimiter, where)
    first = split_fields(lines[0].text, (1, 2, 3, 4))
    second = split_fields(lines[1].text, (2, 3, 4)) if len(lines) > 1 else []
    if _are_numbers(first) and (len(first) == 1 or (len(first) == 2 and len(second) != 2)):
        return _parse_lfw(lines, [int(number) for number in first], where)
    if len(first) == 2:
        return _parse_two_line(lines, where)
    if len(first) == 4 or (len(first) == 3 and _holds_names(lines, first)):
        return Parsed("mfr2", [_named_pair(line, where) for line in lines], "contiguous")
    if len(first) == 3:
        return Parsed("paths", [_path_pair(line, where) for line in lines], "contiguous")
    raise malformed(
        where, lines[0], "a header, `name i j`, `name i name j`, `a b 0|1` or CSV column names"
    )


def _holds_names(lines: Sequence[Line], first: Sequence[str]) -> bool:
    """Tell `name i j` from `a b 0|1` where the first line could be either."""
    if not _are_numbers(first[1:]):
        return False
    rows = [split_fields(line.text, (3, 4)) for line in lines]
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
    fields = split_fields(line.text, (3, 4))
    numbers = fields[1:] if len(fields) == 3 else fields[1::2]
    if len(fields) not in (3, 4) or not _are_numbers(numbers):
        raise malformed(where, line, "`name i j` or `name i name j`")
    name_a, name_b = fields[0], fields[0] if len(fields) == 3 else fields[2]
    keys = [f"{n}/{n}_{int(i):04d}" for n, i in zip((name_a, name_b), numbers, strict=True)]
    return Pair(keys[0], keys[1], name_a == name_b, line.number, fold)


def _path_pair(line: Line, where: str) -> Pair:
    fields = split_fields(line.text, (3,))
    if len(fields) != 3 or fields[2] not in ("0", "1"):
        raise malformed(
            where, line, "`a b 0` or `a b 1` (separate the fields by tabs if a path holds spaces)"
        )
    return Pair(listed_key(fields[0]), listed_key(fields[1]), fields[2] == "1", line.number)


def _parse_two_line(lines: Sequence[Line], where: str) -> Parsed:
    images = [_labelled_image(line, where) for line in lines]
    if len(images) % 2:
        raise malformed(where, lines[-1], "two lines a pair; the second image is missing")
    pairs = []
    for place in range(0, len(images), 2):
        (a, same), (b, same_again) = images[place : place + 2]
        if same != same_again:
            raise malformed(where, lines[place + 1], "the same label as on the line before")
        pairs.append(Pair(a, b, same, lines[place].number))
    return Parsed("two-line", pairs, "by class")


def _labelled_image(line: Line, where: str) -> tuple[str, bool]:
    fields = split_fields(line.text, (2,))
    if len(fields) != 2 or not re.fullmatch("-?[0-9]{1,9}", fields[1]):
        raise malformed(where, line, "`image label`")
    return listed_key(fields[0]), int(fields[1]) != 0


def _are_numbers(fields: Sequence[str]) -> bool:
    return all(_NUMBER.fullmatch(field) for field in fields)
