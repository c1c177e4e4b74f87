"""Rewrite the tables in docs/ that the program itself can fill in; `make docs-options` runs this.

A table stands between two comments, `<!-- options: mfrkit align -->` and `<!-- end -->`, and a test
fails when it is not what the program says.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from mfrkit.cli import app
from mfrkit.models.cards import BUNDLED
from mfrkit.stages.models import describe, thresholds_table

DOCS = Path(__file__).parent
TABLE = re.compile(r"(<!-- (\w+): ([^>]*?) -->\n).*?(<!-- end -->)", re.S)


def each_command(group: Any = None, name: str = "mfrkit") -> Iterator[tuple[str, Any]]:
    """Yield every command with all of its name, those of groups one by one."""
    for word, command in (group or typer.main.get_command(app)).commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from each_command(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


def options_table(name: str) -> str:
    """Return the arguments and options of a command as its help has them."""
    command = dict(each_command())[name]
    context = typer.Context(command, info_name=name)
    records = [parameter.get_help_record(context) for parameter in command.params]
    lines = ["| Option | Default | Meaning |", "|---|---|---|"]
    for declared, text in filter(None, records):
        meaning, _, extra = text.partition("  [")
        default = re.search(r"default: (\(.*?\)(?=[;\]])|[^;\]]+)", extra)
        shown = _default(default[1]) if default else "required" if "required" in extra else ""
        lines.append(f"| {_declared(declared)} | {shown} | {_cell(meaning)} |")
    return "\n".join(lines)


def _declared(text: str) -> str:
    names = re.sub(r" <[^>]*>|\.\.\.(?= )", "", text)
    return _cell(", ".join(f"`{name}`" for name in re.split(r", (?=-)", names)))


def _default(text: str) -> str:
    text = text.strip()
    return _cell(text[1:-1] if text.startswith("(") else f"`{text}`")


def _cell(text: str) -> str:
    """Keep bars from ending a cell; within code GitHub and MkDocs read a backslash differently."""
    spelt = re.sub(r"`([^`]*\|[^`]*)`", lambda m: f"<code>{m[1]}</code>", text)
    return spelt.replace("|", "&#124;")


def thresholds(which: str) -> str:
    """Return the thresholds of every bundled recogniser that has some."""
    cards = [describe(name).card for name in BUNDLED]
    return thresholds_table([card for card in cards if card.thresholds])


TABLES: dict[str, Callable[[str], str]] = {"options": options_table, "thresholds": thresholds}


def filled(text: str) -> str:
    """Return a page with all of its tables as the program has them now."""
    return TABLE.sub(lambda m: f"{m[1]}{TABLES[m[2]](m[3])}\n{m[4]}", text)


if __name__ == "__main__":
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        if (after := filled(before)) != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(DOCS)}\n")
