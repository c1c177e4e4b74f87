"""What a shell offers behind an option: `--model <TAB>` names the models that the command takes.

Nothing here loads torch: a shell waits while one types.
"""

import inspect
from collections.abc import Callable, Iterable

import typer
from typer.models import ParameterInfo

from mfrkit.options import Offers, names_of
from mfrkit.stages.options import mask_colours, mask_kinds, models_for

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


def _layouts(_: str) -> Iterable[str]:
    from mfrkit.evaluation.layouts import LAYOUTS

    return LAYOUTS


def _always(*values: str) -> Values:
    return lambda _: values


_VALUES: dict[str, Values] = {
    "--model": _models,
    "--teacher": _models,
    "--init": lambda _: ["teacher", "scratch", *models_for("recognition")],
    "--region-model": lambda _: models_for("region"),
    "--device": _always("auto", "cpu", "cuda", "mps"),
    "--layout": _layouts,
    "--type": lambda _: ["all", *mask_kinds()],
    "--color": lambda _: mask_colours(),
    "--coverage": _always("above", "on", "below", "chin"),
    "--missing": _always("error", "reject", "drop"),
}
