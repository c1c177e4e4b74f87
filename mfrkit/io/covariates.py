"""What else is known of each image: a table with a `key` column, or the manifest of a stage."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfrkit.errors import InputError
from mfrkit.io.manifest import Record, parse_line
from mfrkit.io.names import key_of
from mfrkit.io.worn_mask import worn_mask


@dataclass(frozen=True, eq=False)
class Covariates:
    """Traits of images.

    Attributes:
        path: the file.
        columns: names of the traits.
        rows: image key -> trait -> value, empty where unknown.
        is_manifest: whether the traits are those of one set of pictures (the masks that were
            drawn on them) rather than of everything that has the key.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]
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
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
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
            _add(rows, row, f"{path}, line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from error
    return rows


def _add(rows: dict[str, dict[str, str]], row: dict[str, Any], where: str) -> None:
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
