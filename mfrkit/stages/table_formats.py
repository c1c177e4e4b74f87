"""Tables as HTML, Markdown or LaTeX."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType

from mfrkit.errors import InputError
from mfrkit.stages.table import Table


def to_html(table: Table) -> str:
    """Return the table as HTML that scrolls sideways on a small screen; all text is escaped."""
    names = (escape(name).replace("-", "&#8209;") for name in table.columns)  # no break in 1e-3
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    lines = []
    for first, *cells in table.rows:
        figures = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{figures}</tr>')
    body = "\n".join(lines)
    notes = "".join(f'\n<p class="note">{escape(note)}</p>' for note in table.notes)
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>{notes}"
    )


def to_markdown(table: Table) -> str:
    r"""Return the table as GitHub's Markdown.

    Example:
        >>> print(to_markdown(Table("", ["system", "EER %"], [["a|b", "1.50"]], [])))
        | system | EER % |
        |---|---:|
        | a\|b | 1.50 |
    """
    lines = [table.columns, *table.rows]
    text = [f"| {' | '.join(_in_markdown(cell) for cell in line)} |" for line in lines]
    text.insert(1, f"|---|{'---:|' * (len(table.columns) - 1)}")
    if table.title:
        text[:0] = [f"**{_in_markdown(table.title)}**", ""]
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
    lines = [" & ".join(map(_in_latex, line)) + r" \\" for line in (table.columns, *table.rows)]
    text = [
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    if table.title:
        text.insert(0, f"% {table.title}")
    return "\n".join([*text, *(f"% {note}" for note in table.notes)])


_WRITERS: Mapping[str, Callable[[Table], str]] = MappingProxyType(
    {".md": to_markdown, ".tex": to_latex}
)
TABLE_SUFFIXES = tuple(_WRITERS)


def render(tables: Sequence[Table], path: Path) -> bytes:
    """Return tables in the format that a file's name asks for.

    Raises:
        InputError: a name that ends otherwise.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: expected a name ending in {', '.join(TABLE_SUFFIXES)}")
    return ("\n\n".join(writer(table) for table in tables) + "\n").encode()


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
    }
)


def _in_markdown(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)


def _in_latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)
