"""Every command has help, and the README tells of every command and option."""

import re
from pathlib import Path

import pytest
import typer

from mfrkit.cli import app

ROOT = Path(__file__).parent.parent
GROUP = typer.main.get_command(app)
COMMANDS = dict(GROUP.commands)


def options_of(command):
    return [opt for p in command.params for opt in p.opts if opt.startswith("--")]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help(name):
    command = COMMANDS[name]
    assert len(command.help or "") > 30
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", ""), f"{name}: {parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_readme(name):
    readme = (ROOT / "README.md").read_text()
    assert f"mfrkit {name}" in readme
    for option in options_of(COMMANDS[name]):
        assert re.search(rf"`{option}\b|{option}\b", readme), f"README does not mention {option}"


def test_readme_names_only_real_commands():
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", readme, re.S)
    named = {m for block in blocks for m in re.findall(r"\bmfrkit ([a-z][a-z-]+)", block)}
    assert named <= set(COMMANDS), named - set(COMMANDS)


def test_readme_options_exist():
    """A line of a shell block that calls a command uses options the command has."""
    readme = (ROOT / "README.md").read_text()
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", readme, re.S):
        for call in re.findall(r"\bmfrkit ([a-z][a-z-]+)([^|\n#]*)", block.replace("\\\n", " ")):
            name, rest = call
            known = set(options_of(COMMANDS[name])) | {"--help", "--quiet", "--verbose", "--debug"}
            if isinstance(COMMANDS[name], typer.core.TyperGroup):
                for sub in COMMANDS[name].commands.values():
                    known |= set(options_of(sub))
            used = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
            assert used <= known, f"mfrkit {name}: {used - known}"


def test_changelog_names_the_version():
    import mfrkit

    assert f"[{mfrkit.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
