"""A table on its way to a terminal, a pipe or a page."""

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A table of text.

    Attributes:
        title: what it shows.
        columns: a name for each column.
        rows: cells as text, one for each column; none for a table that only has notes.
        notes: what to know when reading it.
        groups: names over the columns behind the first, each with how many it spans.
        best: places (row, column) of the cells that stand out.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]
    groups: Sequence[tuple[str, int]] = ()
    best: frozenset[tuple[int, int]] = frozenset()

    @property
    def full_columns(self) -> list[str]:
        """The columns' names with those of their groups, for where a table has one header."""
        groups = [name for name, count in self.groups for _ in range(count)]
        first, *others = self.columns
        named = zip(groups or [""] * len(others), others, strict=True)
        return [first, *(f"{group} {name}".strip() for group, name in named)]
