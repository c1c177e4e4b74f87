"""Score files: pairs that some system has compared already, one a line.

With column names, as `mfrkit eval --scores` writes them: `key_a key_b same fold score`, in any
order, the fold optional; several score columns are several systems. Without names, four or five
fields separated by tabs, commas or blanks:

    a b same score                       and  a b same fold score
    claimed_id real_id probe score       and  claimed_id model real_id probe score  (Bob's files)

In Bob's form the pair is (claimed identity or model, probe), of one person if both ids agree.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.pair_lines import Line, Pair, Parsed, lines_of, listed_key, malformed, read_text
from mfrkit.io.pair_tables import (
    NO,
    YES,
    find_columns,
    table_delimiter,
    table_pair,
    table_rows,
)
from mfrkit.io.pairs import PairList, pair_list

_NO_SCORE = frozenset(["", "nan", "na", "n/a", "none", "null"])
_ONLY = ("score", "similarity")  # a column of this name is the score, whatever else there is
_PLACES = {"a": 0, "b": 1, "same": 2, "fold": 3}


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """The pairs of a score file and what S systems say of them.

    Attributes:
        pairs: the P pairs, in file order.
        systems: name of each score column; empty where the column has none of its own.
        scores: (S, P) float64, larger means more alike; -inf for a failed comparison, NaN where
            the file has no score.
    """

    pairs: PairList
    systems: list[str]
    scores: NDArray[np.float64]


def read_scores(path: Path) -> ScoreFile:
    """Read a score file of any of the forms above.

    Raises:
        InputError: unreadable, of no known form, or a malformed line (which one is said).
    """
    text, where = read_text(path, "score file"), str(path)
    lines = lines_of(text)
    delimiter = table_delimiter(lines[0].text)
    if delimiter:
        return _read_table(path, text, delimiter)
    rows = [(line, _split(line.text)) for line in lines]
    count = len(rows[0][1])
    if count not in (4, 5):
        raise malformed(where, lines[0], "column names, or four or five fields with the score last")
    for line, row in rows:
        if len(row) != count:
            raise malformed(where, line, f"{count} fields, as on the first line")
    if all(row[2].lower() in YES | NO for _, row in rows):
        places = {name: place for name, place in _PLACES.items() if place < count - 1}
        pairs = [table_pair(line.number, row, places, where) for line, row in rows]
        folds = count == 5
    else:
        pairs, folds = [_identified_pair(line, row) for line, row in rows], False
    scores = [_score(line, row[-1], where) for line, row in rows]
    parsed = Parsed("scores", pairs, "given" if folds else "contiguous")
    return ScoreFile(pair_list(path, parsed), [""], np.array([scores]))


def _read_table(path: Path, text: str, delimiter: str) -> ScoreFile:
    rows = table_rows(text, delimiter, str(path))
    names = next(rows)[1]
    columns = find_columns(names)
    chosen = _score_columns(names, set(columns.values()), path)
    pairs, scores = [], []
    for number, row in rows:
        pairs.append(table_pair(number, row, columns, str(path)))
        line = Line(number, delimiter.join(row))
        if len(row) <= max(chosen):
            raise malformed(str(path), line, f"at least {max(chosen) + 1} columns")
        scores.append([_score(line, row[place], str(path)) for place in chosen])
    if not pairs:
        raise InputError(f"{path}: has column names but no scores")
    plain = [names[place].strip() for place in chosen]
    systems = ["" if name.lower() in _ONLY else name for name in plain]
    parsed = Parsed("scores", pairs, "given" if "fold" in columns else "contiguous")
    return ScoreFile(pair_list(path, parsed), systems, np.array(scores).T)


def _score_columns(names: Sequence[str], taken: set[int], path: Path) -> list[int]:
    free = [place for place in range(len(names)) if place not in taken and names[place].strip()]
    named = [place for place in free if names[place].strip().lower() in _ONLY]
    if not free:
        raise InputError(f"{path}: a pair list without scores; expected a column `score`")
    return named[:1] or free


def _split(text: str) -> list[str]:
    for delimiter in ",\t":
        if delimiter in text:
            return [field.strip() for field in next(csv.reader([text], delimiter=delimiter))]
    return re.split(" +", text)


def _identified_pair(line: Line, row: Sequence[str]) -> Pair:
    """Read a pair that is of one person if the claimed and the real identity agree."""
    claimed, model, real, probe = (row[0], row[0], *row[1:3]) if len(row) == 4 else row[:4]
    return Pair(listed_key(model), listed_key(probe), claimed == real, line.number)


def _score(line: Line, cell: str, where: str) -> float:
    if cell.strip().lower() in _NO_SCORE:
        return float("nan")
    try:
        score = float(cell)
    except ValueError as error:
        raise malformed(where, line, f"a number for the score instead of {cell!r}") from error
    if score == float("inf"):
        raise malformed(where, line, "a finite score, or -inf for a failed comparison")
    return score
