"""What the tests of the documentation share: its pages, and how a line of it is run."""

import glob
import importlib.util
import re
import shlex
from pathlib import Path

from mfrkit.cli import app, hoist_global_flags

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]


def name_of(page):
    return str(page.relative_to(ROOT))


def load_tables():
    """The module that fills in the pages' tables."""
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES = load_tables()
COMMANDS = dict(TABLES.each_command())


def example_of(command):
    """The calls of the line or lines that end a command's help."""
    text = re.search(r"^Example: (mfrkit .*)\Z", command.help.strip(), re.S | re.M)
    assert text, "the help does not end with an example"
    return [shlex.split(call) for call in " ".join(text[1].split()).split(" && ")]


def call(words):
    """Run a call of mfrkit in this process, which has loaded torch already."""
    assert words[0] == "mfrkit"
    there = [found for word in words[1:] for found in (sorted(glob.glob(word)) or [word])]
    return app(hoist_global_flags(there), standalone_mode=False) or 0
