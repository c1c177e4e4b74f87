"""A table on its way to a terminal, a pipe or a page."""

from typing import NamedTuple


class Table(NamedTuple):
    """A table of text.

    Attributes:
        title: what it shows.
        columns: a name for each column.
        rows: cells as text, one for each column.
        notes: what to know when reading it.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]
