"""Lists that go with a pair list: what is known of images, scores made elsewhere, templates.

Covariates come as a table with a `key` column, or as the manifest of a stage.

Scores are pairs that some system has compared already, one a line. With column names, as
`mfrkit eval --scores` writes them: `key_a key_b same fold score`, in any order, the fold
optional; several score columns are several systems. Without names, four or five fields separated
by tabs, commas or blanks; in Bob's form the pair is (claimed identity or model, probe), of one
person if both ids agree:

    a b same score                       and  a b same fold score
    claimed_id real_id probe score       and  claimed_id model real_id probe score  (Bob's files)

Template lists say which pictures make up each template, and which of them come from one medium:
IJB's `image template media`, three fields separated by blanks, without header; or CSV with
column names: `template`, an image, and perhaps a medium. Other columns are left alone.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.documents import read_content
from mfrkit.io.files import key_of
from mfrkit.io.manifest import Record, parse_line, worn_mask
from mfrkit.io.pairs import (
    NO,
    YES,
    HeadedList,
    Line,
    Pair,
    PairList,
    Parsed,
    lines_of,
    listed_key,
    pair_list,
    read_text,
    split_fields,
    table_in,
    table_pair,
)


@dataclass(frozen=True, eq=False)
class Covariates:
    """Traits of images.

    Those of a manifest are of one set of pictures, the masks that were drawn on them; those of a
    table are of everything that has the key.
    """

    path: Path
    columns: tuple[str, ...]  # names of the traits
    rows: Mapping[str, Mapping[str, str]]  # image key -> trait -> value, empty where unknown
    is_manifest: bool


def read_covariates(path: Path) -> Covariates:
    """Read a table or, if the name ends in `.jsonl`, a manifest.

    Convention:
        A table is UTF-8 text with a header row, its columns separated by commas, semicolons or
        tabs; `key` names the image as pair lists do, with or without suffix. From a manifest
        come the fields of `mask` that are text (`coverage`, `color`, ...), `type` as `mask`; also
        of masked faces that were not found again, whose pairs belong to their kind.

    Raises:
        InputError: unreadable, no `key` column, a key that appears twice, a row too short or
            too long, or a broken record.
    """
    try:
        text = read_content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a table: byte {error.start} is not UTF-8 text") from error
    is_manifest = path.suffix == ".jsonl"
    rows = _manifest_rows(text, path) if is_manifest else _table_rows(text, path)
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return Covariates(path, tuple(columns), rows, is_manifest)


def _table_rows(text: str, path: Path) -> dict[str, dict[str, str]]:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: dict[str, dict[str, str]] = {}
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if "key" not in names or len(set(names)) != len(names):
            raise InputError(
                f"{path}: expected a header row with a `key` column, each name once; "
                f"got {header.strip()!r}"
            )
        reader.fieldnames = names
        for row in reader:
            _add_row(rows, row, f"{path}, line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from error
    return rows


def _add_row(rows: dict[str, dict[str, str]], row: dict[str, Any], where: str) -> None:
    if None in row or None in row.values():
        raise InputError(f"{where}: another number of columns than in the header")
    key = key_of(row.pop("key").strip())
    if not key or key in rows:
        raise InputError(f"{where}: {f'key {key!r} appears twice' if key else 'the key is empty'}")
    rows[key] = {name: value.strip() for name, value in row.items()}


def _manifest_rows(text: str, path: Path) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}, line {number}"
        record = Record.from_json(parse_line(line, where), where)
        mask = worn_mask(record)
        if mask is not None:
            traits = {name: value for name, value in mask.items() if isinstance(value, str)}
            rows[record.key] = {"mask": traits.pop("type", ""), **traits}
    if not rows:
        raise InputError(f"{path}: no record tells of a mask; is it the manifest of synth-mask?")
    return rows


_NO_SCORE = frozenset(["", "nan", "na", "n/a", "none", "null"])
_ONLY = ("score", "similarity")  # a column of this name is the score, whatever else there is
_PLACES = {"a": 0, "b": 1, "same": 2, "fold": 3}


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """The P pairs of a score file, in file order, and what S systems say of them."""

    pairs: PairList
    systems: list[str]  # name of each score column; empty where the column has none of its own
    # (S, P) float64, larger means more alike; -inf for a failed comparison, NaN where the
    # file has no score
    scores: NDArray[np.float64]


def read_scores(path: Path) -> ScoreFile:
    """Read a score file of any of the forms above; InputError says which line is of none."""
    text, where = read_text(path, "score file"), str(path)
    table = table_in(text, where)
    if table:
        return _read_table(path, table)
    rows = [(line, _split(line.text)) for line in lines_of(text, where)]
    count = len(rows[0][1])
    if count not in (4, 5):
        raise rows[0][0].malformed("column names, or four or five fields with the score last")
    for line, row in rows:
        if len(row) != count:
            raise line.malformed(f"{count} fields, as on the first line")
    if all(row[2].lower() in YES | NO for _, row in rows):
        places = {name: place for name, place in _PLACES.items() if place < count - 1}
        pairs = [table_pair(line, row, places) for line, row in rows]
        folds = count == 5
    else:
        pairs, folds = [_identified_pair(line, row) for line, row in rows], False
    scores = [_score(line, row[-1]) for line, row in rows]
    parsed = Parsed("scores", pairs, "given" if folds else "contiguous")
    return ScoreFile(pair_list(path, parsed), [""], np.array([scores]))


def _read_table(path: Path, table: HeadedList) -> ScoreFile:
    columns = table.columns
    chosen = _score_columns(table.names, set(columns.values()), path)
    pairs, scores = [], []
    for line, row in table.rows:
        pairs.append(table_pair(line, row, columns))
        if len(row) <= max(chosen):
            raise line.malformed(f"at least {max(chosen) + 1} columns")
        scores.append([_score(line, row[place]) for place in chosen])
    if not pairs:
        raise InputError(f"{path}: has column names but no scores")
    plain = [table.names[place].strip() for place in chosen]
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


def _score(line: Line, cell: str) -> float:
    if cell.strip().lower() in _NO_SCORE:
        return float("nan")
    try:
        score = float(cell)
    except ValueError as error:
        raise line.malformed(f"a number for the score instead of {cell!r}") from error
    if score == float("inf"):
        raise line.malformed("a finite score, or -inf for a failed comparison")
    return score


_Name = TypeVar("_Name")
_TEMPLATE_COLUMNS: Mapping[str, str] = {
    "template": "template template_id tid",
    "image": "image filename file path key name",
    "media": "media media_id medium mid sighting_id",
}


@dataclass(frozen=True, eq=False)
class TemplateList:
    """The M pictures of T templates, those of one template together, and so those of one medium."""

    path: Path
    names: list[str]  # T templates, in the order in which the file names them first
    keys: list[str]  # M keys of pictures
    template: NDArray[np.int64]  # (M,) int64, rising; the template each picture belongs to
    # (M,) int64, rising; the medium it comes from, no two templates sharing one
    media: NDArray[np.int64]


def read_templates(path: Path) -> TemplateList:
    """Read a template list of either form; else it is an InputError that says which line."""
    text = read_text(path, "template list")
    table = table_in(text, str(path), _TEMPLATE_COLUMNS, {"template", "image"})
    rows = _table_templates(table) if table else _plain_templates(lines_of(text, str(path)))
    if not rows:
        raise InputError(f"{path}: has column names but no templates")
    templates = _numbered(row[0] for row in rows)
    rows.sort(key=lambda row: templates[row[0]])  # stable: file order within a template
    media = _numbered(row[:2] for row in rows)
    rows.sort(key=lambda row: media[row[:2]])  # stable: file order within a medium
    return TemplateList(
        path=path,
        names=list(templates),
        keys=[image for _, _, image in rows],
        template=np.array([templates[row[0]] for row in rows], dtype=np.int64),
        media=np.array([media[row[:2]] for row in rows], dtype=np.int64),
    )


def _numbered(names: Iterable[_Name]) -> dict[_Name, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _plain_templates(lines: Iterable[Line]) -> list[tuple[str, str, str]]:
    """Read `image template media` as (template, media, key)."""
    rows = []
    for line in lines:
        fields = split_fields(line.text, (3,))
        if len(fields) != 3:
            raise line.malformed("`image template media`, or CSV column names first")
        rows.append((fields[1], fields[2], listed_key(fields[0])))
    return rows


def _table_templates(table: HeadedList) -> list[tuple[str, str, str]]:
    """Read a table as (template, media, key); without a medium each picture is its own."""
    columns, rows = table.columns, []
    for line, row in table.rows:
        cells = [cell.strip() for cell in row]
        if len(cells) <= max(columns.values()) or not cells[columns["template"]]:
            raise line.malformed("a template and an image")
        key = listed_key(cells[columns["image"]])
        medium = cells[columns["media"]] if "media" in columns else key
        rows.append((cells[columns["template"]], medium, key))
    return rows
