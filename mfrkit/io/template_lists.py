"""Template lists: which pictures make up each template, and which of them come from one medium.

Either IJB's `image template media`, three fields separated by blanks, without header; or CSV with
column names: `template`, an image, and perhaps a medium. Other columns are left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.pair_lines import Line, lines_of, listed_key, malformed, read_text, split_fields
from mfrkit.io.pair_tables import delimiter_of, find_columns, table_rows

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "template": "template template_id tid",
        "image": "image filename file path key name",
        "media": "media media_id medium mid sighting_id",
    }
)


@dataclass(frozen=True, eq=False)
class TemplateList:
    """The M pictures of T templates, those of one template together, and so those of one medium.

    Attributes:
        path: the file.
        names: T templates, in the order in which the file names them first.
        keys: M keys of pictures.
        template: (M,) int64, rising; the template each picture belongs to.
        media: (M,) int64, rising; the medium it comes from, no two templates sharing one.
    """

    path: Path
    names: list[str]
    keys: list[str]
    template: NDArray[np.int64]
    media: NDArray[np.int64]


def read_templates(path: Path) -> TemplateList:
    """Read a template list.

    Raises:
        InputError: unreadable, of neither form, or a malformed line (which one is said).
    """
    text = read_text(path, "template list")
    first = lines_of(text)[0].text
    delimiter = delimiter_of(first, COLUMNS, needed={"template", "image"})
    rows = _table(text, delimiter, path) if delimiter else _plain(text, path)
    templates: dict[str, int] = {}
    for template, _, _ in rows:
        templates.setdefault(template, len(templates))
    media: dict[tuple[str, str], int] = {}
    for template, medium, _ in sorted(rows, key=lambda row: templates[row[0]]):
        media.setdefault((template, medium), len(media))
    rows.sort(key=lambda row: media[row[:2]])  # stable: file order within a medium
    return TemplateList(
        path=path,
        names=list(templates),
        keys=[image for _, _, image in rows],
        template=np.array([templates[row[0]] for row in rows], dtype=np.int64),
        media=np.array([media[row[:2]] for row in rows], dtype=np.int64),
    )


def _plain(text: str, path: Path) -> list[tuple[str, str, str]]:
    """Read `image template media` as (template, media, key)."""
    rows = []
    for line in lines_of(text):
        fields = split_fields(line.text, (3,))
        if len(fields) != 3:
            raise malformed(str(path), line, "`image template media`, or CSV column names first")
        rows.append((fields[1], fields[2], listed_key(fields[0])))
    return rows


def _table(text: str, delimiter: str, path: Path) -> list[tuple[str, str, str]]:
    """Read a table as (template, media, key); without a medium each picture is its own."""
    numbered = table_rows(text, delimiter, str(path))
    columns = find_columns(next(numbered)[1], COLUMNS)
    rows = []
    for number, row in numbered:
        cells = [cell.strip() for cell in row]
        if len(cells) <= max(columns.values()) or not cells[columns["template"]]:
            raise malformed(str(path), Line(number, delimiter.join(row)), "a template and an image")
        key = listed_key(cells[columns["image"]])
        rows.append(
            (
                cells[columns["template"]],
                cells[columns["media"]] if "media" in columns else key,
                key,
            )
        )
    if not rows:
        raise InputError(f"{path}: has column names but no templates")
    return rows
