"""What a shell offers behind an option: `--model <TAB>` names the models that the command takes.

Nothing here loads torch: a shell waits while one types.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import typer

Values = Callable[[str], Iterable[str]]
"""Returns what may stand behind an option, given the command's name."""

METHODS = ("maskinv", "deocclusion", "meer", "eum", "g2d")
PRESETS = {
    "distill": ("small", "paper", "paper-hg", "small-resnet22"),
    "train-inpaint": ("small", "paper", "g2d", "g2d-paper"),
    "train-region": ("small", "large"),
    "train-landmarks": ("small",),
}
_TASKS = {"inpaint": "completion", "unmask": "unmasking"}


def offer_values(app: typer.Typer) -> None:
    """Teach the options of all commands what may stand behind them."""
    for command in app.registered_commands:
        for parameter in inspect.signature(command.callback or offer_values).parameters.values():
            for option in getattr(parameter.annotation, "__metadata__", ()):
                names = _names(option, parameter.name)
                values = next((_VALUES[name] for name in names if name in _VALUES), None)
                if values is not None:
                    option.autocompletion = _completer(values)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            offer_values(group.typer_instance)


def _names(option: Any, parameter: str) -> list[str]:
    """Return how an option, or an argument, is written; Typer keeps the first in `default`."""
    given = (option.default, *(option.param_decls or ()))
    return [*(each for each in given if isinstance(each, str)), f"--{parameter}"]


def _completer(values: Values) -> Callable[..., list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")  # of a list, what stands before its end
        known = values(ctx.info_name or "")
        return [f"{done}{comma}{value}" for value in known if value.startswith(last)]

    return complete


def _models(command: str) -> list[str]:
    return _models_for(None if command == "show" else _TASKS.get(command, "recognition"))


def _models_for(task: str | None) -> list[str]:
    from mfrkit.stages.options import models_for

    return models_for(task)


def _detectors(command: str) -> tuple[str, ...]:
    if command == "synth-mask":
        from mfrkit.stages.options import MASK_DETECTORS

        return MASK_DETECTORS
    from mfrkit.stages.options import DETECTORS as FINDERS

    return FINDERS


def _layouts(_: str) -> Iterable[str]:
    from mfrkit.evaluation.layouts import LAYOUTS

    return LAYOUTS


def _kinds(_: str) -> list[str]:
    from mfrkit.stages.options import KINDS

    return ["all", *KINDS]


def _colours(_: str) -> Iterable[str]:
    from mfrkit.stages.options import COLORS

    return COLORS


def _always(*values: str) -> Values:
    return lambda _: values


_VALUES: dict[str, Values] = {
    "--model": _models,
    "--teacher": _models,
    "--init": lambda _: ["teacher", "scratch", *_models_for("recognition")],
    "--region-model": lambda _: _models_for("region"),
    "--detector": _detectors,
    "--landmarks": _always("mesh", "five"),
    "--select": _always("center", "largest", "all"),
    "--format": _always("png", "jpg"),
    "--device": _always("auto", "cpu", "cuda", "mps"),
    "--layout": _layouts,
    "--type": _kinds,
    "--color": _colours,
    "--coverage": _always("above", "on", "below", "chin"),
    "--method": _always(*METHODS),
    "--preset": lambda command: PRESETS.get(command, ()),
    "--missing": _always("error", "reject", "drop"),
    "--pool": _always("mean", "norm", "none"),
}
