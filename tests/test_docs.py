"""Every command has help, and the pages tell of every command, with tables the program gives."""

import re

import pytest
import typer
from documentation import COMMANDS, PAGES, ROOT, TABLES, example_of, name_of

SHELL = re.compile(r"```(?:sh|console)\n(.*?)```", re.S)
GLOBAL = {"--help", "--quiet", "--verbose", "--debug"}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help(name):
    command = COMMANDS[name]
    assert len(command.help or "") > 30
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", ""), f"{name}: {parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_of_the_command(name):
    assert any(" ".join(words).startswith(f"{name} ") or words == name.split()
               for words in example_of(COMMANDS[name]))  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_page_with_its_options(name):
    page = ROOT / "docs" / "commands" / f"{name.split()[1]}.md"
    assert f"<!-- options: {name} -->" in page.read_text()
    assert f"({page.name}" in (page.parent / "index.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_are_those_of_the_program(page):
    """`make docs-options` rewrites them."""
    text = page.read_text()
    assert TABLES.filled(text) == text


def test_a_table_that_differs_is_rewritten():
    old = "a\n<!-- options: mfrkit doctor -->\n| stale |\n<!-- end -->\nb\n"
    new = TABLES.filled(old)
    assert "stale" not in new
    assert "| `--json` |  | Print exactly one JSON object. |" in new
    assert (new[:2], new[-3:]) == ("a\n", "\nb\n")


def calls_in(text):
    """Yield the words of each call of mfrkit in the text's shell blocks."""
    for block in SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for rest in re.findall(r"(?<!-t )\bmfrkit (.*?)(?=[|;&#]|$)", line.split(" #")[0]):
                yield rest.split()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_of_shell_blocks_exist(page):
    for words in calls_in(page.read_text()):
        words = [word for word in words if word not in ("-q", "-v", "--quiet", "--verbose")]
        names = [f"mfrkit {' '.join(words[:count])}" for count in (2, 1)]
        command = next((COMMANDS[name] for name in names if name in COMMANDS), None)
        used = {word for word in words if re.fullmatch(r"--[a-z-]+", word)}
        if command is None:
            assert used <= {"--help", "--version", "--install-completion"}, words
            assert not words or words[0].startswith("-"), f"no command {words[0]}"
            continue
        known = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | GLOBAL
        assert used <= known, f"{' '.join(words)}: {used - known}"


def test_calls_are_found_in_shell_blocks():
    text = "```sh\nmfrkit align a -o b | mfrkit embed - # mfrkit nothing\n```\nmfrkit none\n"
    assert list(calls_in(text)) == [["align", "a", "-o", "b"], ["embed", "-"]]


def test_groups_are_walked():
    group = typer.main.get_command(TABLES.app)
    assert {name.split()[1] for name in COMMANDS} == set(group.commands)
    assert "mfrkit models show" in COMMANDS


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_changelog_names_the_version():
    import mfrkit

    assert f"[{mfrkit.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
