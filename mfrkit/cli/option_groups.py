"""Groups of options that a command receives as one argument."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

Command = Callable[..., None]


def option_group(name: str, collect: Callable[..., Any]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command a group of options.

    Written once, they cannot come to mean different things in different commands.

    Args:
        name: the command's keyword argument that receives what `collect` returns.
        collect: takes the options as its parameters, annotated as Typer wants them.
    """

    def decorate(command: Command) -> Command:
        own, group = inspect.signature(command), inspect.signature(collect)
        kept = [parameter for parameter in own.parameters.values() if parameter.name != name]

        @functools.wraps(command)
        def with_group(**values: Any) -> None:
            collected = collect(**{option: values.pop(option) for option in group.parameters})
            command(**{name: collected}, **values)

        merged = own.replace(parameters=[*kept, *group.parameters.values()])
        with_group.__signature__ = merged  # type: ignore[attr-defined]
        with_group.__annotations__ = {p.name: p.annotation for p in merged.parameters.values()}
        return with_group

    return decorate
