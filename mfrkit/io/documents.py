"""Files that others may have written, JSON and TOML among them: whatever is wrong is one error.

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
    """Parse JSON; messages begin with `where`, file and perhaps line, and end with `remedy`.

    Raises:
        InputError: not JSON.
        ItemError: nested deeper than anyone means it.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ItemError(f"{where}: not JSON (nested too deeply){remedy}") from error
    except ValueError as error:  # JSON's own, text that is not UTF-8, endless digits
        raise InputError(f"{where}: not JSON ({error}){remedy}") from error


def read_content(path: Path, remedy: str = "") -> bytes:
    """Read a file whole; unreadable, it is an InputError that ends with `remedy`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}{remedy}") from error


def read_json_object(path: Path, remedy: str = "") -> dict[str, Any]:
    """Read a file that holds one JSON object; all else is an InputError that ends with `remedy`."""
    found = parse_json(read_content(path, remedy), str(path), remedy)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(found).__name__}{remedy}")
    return found


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML; what is none, or nested deeper than anyone means it, is an InputError."""
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
