"""The recipe beside a result: the command and every option that shaped it (`run.json`)."""

from pathlib import Path
from typing import Any

from mfrkit import __version__
from mfrkit.errors import InputError
from mfrkit.io.documents import json_file, read_json_object
from mfrkit.io.files import write_held


def write_recipe(path: Path, command: str, options: dict[str, Any], inputs: str = "") -> None:
    """Write a recipe.

    Args:
        path: the file.
        command: the stage's name.
        options: what shapes results, JSON types only.
        inputs: what tells the inputs from others of the same names; empty if not known yet.
    """
    content = {"mfrkit": __version__, "command": command, "options": options, "inputs": inputs}
    write_held(path, json_file(content))


def refuse_other_commands(folder: Path, command: str) -> None:
    """Keep the results of different commands in different folders.

    Raises:
        InputError: the folder holds results of another command.
    """
    for path in folder.glob("run*.json"):
        found = _read(path).get("command", command)
        if found != command:
            raise InputError(f"{folder}: holds results of mfrkit {found}; name another folder")


def read_inputs(path: Path) -> str:
    """Return what a recipe says of the inputs; empty if it says nothing."""
    return str(_read(path).get("inputs", ""))


def check_options(folder: Path, options: dict[str, Any]) -> None:
    """Refuse to mix results made with different options.

    Raises:
        InputError: a recipe in the folder has another value for some option.
    """
    for path in folder.glob("run*.json"):
        found = _read(path).get("options", options)
        if not isinstance(found, dict):
            raise InputError(f"{path}: damaged; --force starts again")
        for name in sorted(found.keys() | options.keys()):
            if found.get(name) != options.get(name):
                raise InputError(
                    f"{folder}: was made with {name}={found.get(name)!r}, "
                    f"not {options.get(name)!r}; --force starts again"
                )


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except InputError:
        return {}  # not ours, or cut short: the manifest decides
