"""Settings by name: presets, a TOML file and `--set`, each over the one before, checked by type."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mfrkit.errors import InputError, instead
from mfrkit.io.documents import parse_toml

Made = TypeVar("Made")
Tables = dict[str, dict[str, Any]]
_WORDS = {
    str: "text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    tuple: "a list, [a, b, ...]",
}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: unreadable, or not TOML.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: unreadable: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    return parse_toml(text, str(path))


def parse_set(text: str) -> tuple[str, str, Any]:
    """Read `table.name=value`; the value is TOML, or text where it is not.

    Returns:
        Table, name, value.

    Raises:
        InputError: not of this form.

    Example:
        >>> parse_set("fit.lr=1e-3"), parse_set("method.distance=mse")
        (('fit', 'lr', 0.001), ('method', 'distance', 'mse'))
    """
    place, equals, value = text.partition("=")
    table, dot, name = place.strip().partition(".")
    if not (equals and dot and table and name):
        raise InputError(f"--set {text!r}: expected TABLE.NAME=VALUE, for example fit.lr=1e-3")
    try:
        return table, name, parse_toml(f"value = {value}", "--set")["value"]
    except InputError:
        return table, name, value.strip()


def merge(layers: Sequence[Mapping[str, Mapping[str, Any]]]) -> Tables:
    """Lay tables over each other, later ones on top.

    Example:
        >>> merge([{"fit": {"lr": 1, "clip": 5}}, {"fit": {"lr": 2}}])
        {'fit': {'lr': 2, 'clip': 5}}
    """
    merged: Tables = {}
    for layer in layers:
        for table, values in layer.items():
            merged.setdefault(table, {}).update(values)
    return merged


def make(kind: type[Made], values: Mapping[str, Any], table: str) -> Made:
    """Build a dataclass of options from a table.

    Args:
        kind: the dataclass.
        values: by field name.
        table: its name, for messages.

    Raises:
        InputError: an unknown name, a wrong type, or a value the options refuse.

    Example:
        >>> from mfrkit.stages.fit_options import FitOptions
        >>> make(FitOptions, {"lr": 1}, "fit").lr
        1.0
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    checked = {}
    for name, value in values.items():
        if name not in names:
            raise InputError(f"no setting {table}.{name}{instead(name, names)}")
        checked[name] = _convert(value, hints[name], f"{table}.{name}")
    return kind(**checked)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return a TOML value as the type a field wants."""
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        hint = next(each for each in choices if each is not type(None))
        origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        if choices[-1] is not Ellipsis and len(value) != len(choices):
            raise InputError(f"{where} is {value!r}, expected {len(choices)} values")
        return tuple(_convert(each, choices[0], where) for each in value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _float(value, where)
    if origin is typing.Literal and value not in choices:
        raise InputError(f"{where} is {value!r}{instead(str(value), choices)}")
    wanted = str if origin is typing.Literal else origin or hint
    if type(value) is not wanted:
        raise InputError(f"{where} is {value!r}, expected {_WORDS.get(wanted, 'other settings')}")
    return value


def _float(value: float, where: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"{where} is a number of {len(str(value))} digits: too large") from error
