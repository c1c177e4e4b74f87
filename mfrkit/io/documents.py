"""JSON and TOML that others may have written: whatever is wrong is one error that says where.

The parsers of the standard library fail on such text in more ways than their own error: by
recursion where it nests deeply, and on whole numbers of thousands of digits.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfrkit.errors import InputError, ItemError


def parse_json(text: str | bytes, where: str, remedy: str = "") -> Any:
    """Parse JSON.

    Args:
        text: one document; bytes are UTF-8.
        where: file, perhaps line, for messages.
        remedy: what to do, appended to the message.

    Raises:
        InputError: not JSON.
        ItemError: nested deeper than anyone means it.

    Example:
        >>> parse_json('{"a": 1}', "a.json")
        {'a': 1}
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ItemError(f"{where}: not JSON (nested too deeply){remedy}") from error
    except ValueError as error:  # JSON's own, text that is not UTF-8, endless digits
        raise InputError(f"{where}: not JSON ({error}){remedy}") from error


def read_json_object(path: Path, remedy: str = "") -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: the file.
        remedy: what to do, appended to the message.

    Raises:
        InputError: unreadable, not JSON, or no object.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}{remedy}") from error
    found = parse_json(content, str(path), remedy)
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise InputError(f"{path}: expected a JSON object, got {kind}{remedy}")
    return found


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        InputError: not TOML, or nested deeper than anyone means it.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise InputError(f"{where}: not TOML: nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{where}: not TOML: {error}") from error


def json_file(content: Mapping[str, Any]) -> bytes:
    """Return a JSON file's content: readable UTF-8, or escapes where a name is no valid text."""
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        text = json.dumps(content, indent=2).encode()
    return text + b"\n"
