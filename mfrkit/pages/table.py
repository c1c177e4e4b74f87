"""A table on its way to a terminal, a page or a paper: Markdown or LaTeX."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
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


def _emphasised(
    table: Table, emphasise: Callable[[str], str], spell: Callable[[str], str]
) -> list[list[str]]:
    """Return all cells in another notation, the best ones emphasised."""
    return [
        [
            emphasise(spell(cell)) if (row, column) in table.best else spell(cell)
            for column, cell in enumerate(cells)
        ]
        for row, cells in enumerate(table.rows)
    ]


def to_markdown(table: Table) -> str:
    """Return the table as GitHub's Markdown."""
    text = [f"**{_in_markdown(table.title)}**", ""] if table.title else []
    if table.rows:
        head = [_in_markdown(name) for name in table.full_columns]
        body = _emphasised(table, "**{}**".format, _in_markdown)
        lines = [f"| {' | '.join(line)} |" for line in (head, *body)]
        text += [lines[0], f"|---|{'---:|' * (len(table.columns) - 1)}", *lines[1:]]
    for note in table.notes:
        text += ["", _in_markdown(note)]
    return "\n".join(text)


def to_latex(table: Table) -> str:
    r"""Return the table as a LaTeX `tabular` with rules of the package booktabs.

    Example:
        >>> print(to_latex(Table("", ["system", "EER %"], [["a_b", "1.50"]], [])))
        \begin{tabular}{lr}
        \toprule
        system & EER \% \\
        \midrule
        a\_b & 1.50 \\
        \bottomrule
        \end{tabular}
    """
    text = [_comment(table.title)] if table.title else []
    if table.rows:
        columns = " & ".join(map(_in_latex, table.columns))
        body = _emphasised(table, r"\textbf{{{}}}".format, _in_latex)
        text += [
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule", *_groups_in_latex(table), rf"{columns} \\",
            r"\midrule", *(rf"{' & '.join(line)} \\" for line in body),
            r"\bottomrule", r"\end{tabular}",
        ]  # fmt: skip
    return "\n".join([*text, *map(_comment, table.notes)])


def _groups_in_latex(table: Table) -> list[str]:
    """Return a header line that names the groups of columns, and the rules below them."""
    if not table.groups:
        return []
    names = [rf"\multicolumn{{{count}}}{{c}}{{{_in_latex(name)}}}" for name, count in table.groups]
    rules, last = [], 1
    for _, count in table.groups:
        rules.append(rf"\cmidrule(lr){{{last + 1}-{last + count}}}")
        last += count
    return [rf" & {' & '.join(names)} \\", "".join(rules)]


def _comment(text: str) -> str:
    return f"% {' '.join(text.split())}"


_WRITERS: Mapping[str, Callable[[Table], str]] = MappingProxyType(
    {".md": to_markdown, ".tex": to_latex}
)


def render(tables: Sequence[Table], path: Path) -> bytes:
    """Return tables in the format that a file's name asks for, `.md` or `.tex`."""
    write = _WRITERS[path.suffix.lower()]
    return ("\n\n".join(write(table) for table in tables) + "\n").encode()


_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|*_`<>[]"})
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "#$%&_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        "[": "{[}",  # at the start of a line, the two would belong to the line break before it
        "*": "{*}",
    }
)


def _in_markdown(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)


def _in_latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX).replace(r"\textless{}=", r"$\leq$")
