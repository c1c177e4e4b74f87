"""A command's options, built from the dataclass that holds them, and what a shell offers for them.

Nothing here loads torch: a shell waits while one types `--model <TAB>`.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, is_dataclass
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.models import ArgumentInfo, ParameterInfo

from mfrkit.options import Declared, Offers, Some, Usually, declared, names_of
from mfrkit.stages.options import mask_colours, mask_kinds, models_for

Command = Callable[..., None]


def takes(
    kind: type[Any], name: str = "options", some: tuple[str, ...] | None = None
) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the options a dataclass declares.

    Args:
        kind: the dataclass, see `mfrkit.options`. Dataclasses in it are groups of options.
        name: the command's keyword argument that receives an instance; its other arguments are
            options of their own, listed before or after as it is.
        some: names of those fields that the command has; None for all.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for parameter in own.parameters.values():
            parameters += _parameters(kind, some) if parameter.name == name else [parameter]

        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            command(**{name: _collect(kind, values, some)}, **values)

        merged = own.replace(parameters=[p.replace(kind=p.KEYWORD_ONLY) for p in parameters])
        with_options.__signature__ = merged  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in merged.parameters.values()}
        return with_options

    return decorate


def _parts(kind: type[Any], some: tuple[str, ...] | None = None) -> list[Declared]:
    """Return the fields that are options or groups of them.

    Arguments come first, then options of the class itself, then those it inherits, then groups.
    """

    def place(each: Declared) -> int:
        if isinstance(each.option, ArgumentInfo):
            return 0
        return 3 if each.option is None else 1 + (each.field.name not in kind.__annotations__)

    found = [each for each in declared(kind) if some is None or each.field.name in some]
    return sorted((each for each in found if each.option or is_dataclass(each.values)), key=place)


def _parameters(
    kind: type[Any], some: tuple[str, ...] | None = None
) -> Iterator[inspect.Parameter]:
    """Yield the parameters that Typer makes options of."""
    for each in _parts(kind, some):
        if each.option is None:
            yield from _parameters(each.values, _names(each))
            continue
        hint, default = each.values, each.field.default
        if getattr(each.option, "parser", None):  # it reads defaults too
            hint, default = (str | None, None) if default is None else (str, _written(default))
        elif get_origin(hint) is tuple:
            hint, default = GenericAlias(list, get_args(hint)[0]), default or None
        if each.first(Usually) or default is None:
            hint, default = hint | None, None
        yield inspect.Parameter(
            each.field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[hint, *each.said],
            default=inspect.Parameter.empty if default is MISSING else default,
        )


def _collect(kind: type[Any], values: dict[str, Any], some: tuple[str, ...] | None = None) -> Any:
    """Take an instance's values out of what Typer hands to a command."""
    found = {}
    for each in _parts(kind, some):
        name = each.field.name
        if each.option is None:
            found[name] = _collect(each.values, values, _names(each))
            continue
        value, usually = values.pop(name), each.first(Usually)
        if usually and not value:
            value = usually.find(needed=not any(values.get(other) for other in usually.unless))
        many = get_origin(each.values) is tuple and not getattr(each.option, "parser", None)
        found[name] = _as_tuple(value) if many else value
    return kind(**found)


def _written(default: Any) -> str:
    """Return a default as it would be given, for its parser."""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _names(group: Declared) -> tuple[str, ...] | None:
    some = group.first(Some)
    return None if some is None else some.names


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


Values = Callable[[str], Iterable[str]]
"""Returns what may stand behind an option, given the command's name."""

_TASKS = {"inpaint": "completion", "unmask": "unmasking"}


def offer_values(app: typer.Typer) -> None:
    """Teach the options of all commands what may stand behind them."""
    for command in app.registered_commands:
        for parameter in inspect.signature(command.callback or offer_values).parameters.values():
            said = getattr(parameter.annotation, "__metadata__", ())
            offered = [_always(*each.words) for each in said if isinstance(each, Offers)]
            for option in said:
                names = [*names_of(option), f"--{parameter.name}"]
                values = offered or [_VALUES[name] for name in names if name in _VALUES]
                if values and isinstance(option, ParameterInfo):
                    option.autocompletion = _completer(values[0])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            offer_values(group.typer_instance)


def _completer(values: Values) -> Callable[..., list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")  # of a list, what stands before its end
        known = values(ctx.info_name or "")
        return [f"{done}{comma}{value}" for value in known if value.startswith(last)]

    return complete


def _models(command: str) -> list[str]:
    return models_for(None if command == "show" else _TASKS.get(command, "recognition"))


def _beginnings(command: str) -> list[str]:
    task = {"train-inpaint": "completion", "train-region": "region"}.get(command)
    return models_for(task) if task else ["teacher", "scratch", *models_for("recognition")]


def _always(*values: str) -> Values:
    return lambda _: values


_VALUES: dict[str, Values] = {
    "--model": _models,
    "--teacher": _models,
    "--init": _beginnings,
    "--region-model": lambda _: models_for("region"),
    "--device": _always("auto", "cpu", "cuda", "mps"),
    "--type": lambda _: ["all", *mask_kinds()],
    "--color": lambda _: mask_colours(),
    "--coverage": _always("above", "on", "below", "chin"),
}
