"""Settings by name: presets, a TOML file and `--set`, each over the one before, checked by type.

What every training command is asked for, and how a network is trained: the options of the one
loop, and the learning rate they imply.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from mfrkit.errors import InputError, instead
from mfrkit.io.documents import parse_toml
from mfrkit.masks.kinds import TEMPLATE, WORN
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.worn import WornFile, WornMasks
from mfrkit.methods.method import Preset, choose
from mfrkit.methods.views import ViewOptions
from mfrkit.training.options import TrainRequest


@dataclass(frozen=True)
class FitOptions:
    """The loop's options.

    Attributes:
        epochs: passes over the data; counts where `steps` is 0.
        steps: optimiser steps.
        batch_size: faces per step, over all processes.
        optimiser: `adamw`, or `sgd` with momentum.
        lr: learning rate at its highest.
        momentum: of `sgd`.
        betas: of `adamw`, the decays of its two running averages.
        weight_decay: of either.
        pull: towards the weights the run starts with, apart from the gradient: after each step the
            student goes the share `pull` times the learning rate of its way back; 0 for none.
        schedule: `cosine` down to `final`, `step` (times `decay` at each milestone) or `constant`.
        warmup: steps over which the rate first rises in a straight line.
        final: last rate of `cosine`, as a share of `lr`.
        milestones: epochs at which `step` acts.
        decay: factor of each milestone.
        clip: largest norm of the student's gradient, 0 for no limit.
        precision: of the networks' arithmetic: `fp32`, or `fp16` or `bf16` mixed with it.
        compile: fuse the student's arithmetic into compiled kernels; needs a C++ compiler, pays
            in runs of more than some minutes.
        ema: decay of the running average of the weights that is exported, 0 for none.
        log_every: steps between lines of the history.
        check_every: steps between checks on a pair list; there is one at the end in any case.
        save_every: steps between checkpoints.
        keep: checkpoints kept.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    epochs: float = 10.0
    steps: int = 0
    batch_size: int = 64
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = 4e-4
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    pull: float = 0.0
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup: int = 30
    final: float = 0.02
    milestones: tuple[float, ...] = ()
    decay: float = 0.1
    clip: float = 5.0
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    compile: bool = False
    ema: float = 0.0
    log_every: int = 20
    check_every: int = 0
    save_every: int = 200
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "log_every", "save_every", "keep", "lr", "decay"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"fit.{name} must be positive, not {getattr(self, name)}")
        for name in ("steps", "warmup", "check_every", "clip", "weight_decay", "pull", "final"):
            if getattr(self, name) < 0:
                raise InputError(f"fit.{name} must not be negative, not {getattr(self, name)}")
        if not (self.steps or self.epochs > 0):
            raise InputError("fit.steps or fit.epochs must be positive")
        for name in ("ema", "momentum", "betas"):
            if not all(0 <= value < 1 for value in np.atleast_1d(getattr(self, name))):
                raise InputError(f"fit.{name} must be from 0 to below 1, not {getattr(self, name)}")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return how many steps the run takes."""
        return self.steps or max(1, round(self.epochs * steps_per_epoch))


def lr_factor(step: int, total: int, steps_per_epoch: int, options: FitOptions) -> float:
    """Return the learning rate of a step, from 0, as a share of its highest.

    Example:
        >>> options = FitOptions(warmup=2, final=0.0)
        >>> [round(lr_factor(step, 6, 3, options), 2) for step in range(6)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < options.warmup:
        return (step + 1) / options.warmup
    if options.schedule == "constant":
        return 1.0
    if options.schedule == "step":
        passed = sum(step >= epoch * steps_per_epoch for epoch in options.milestones)
        return float(options.decay**passed)
    done = (step - options.warmup) / max(1, total - options.warmup)
    return options.final + (1 - options.final) * (1 + math.cos(math.pi * min(1.0, done))) / 2


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
    """Read `table.name=value` as these three; the value is TOML, or text where it is not.

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


def _merge(layers: Iterable[Mapping[str, Mapping[str, Any]]]) -> Tables:
    """Lay tables over each other, later ones on top."""
    merged: Tables = {}
    for layer in layers:
        for table, values in layer.items():
            merged.setdefault(table, {}).update(values)
    return merged


def make(kind: type[Any], values: Mapping[str, Any], table: str) -> Any:
    """Build a dataclass of options from a table whose name is for messages.

    Raises:
        InputError: an unknown name, a wrong type, or a value the options refuse.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
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


@dataclass(frozen=True)
class CardOptions:
    """What the model's card says beside what the run knows itself.

    Attributes:
        name: of the model; empty takes the file's.
        licence: of the weights.
        data: what they were trained on; empty lists the sources.
        note: anything a user must know.
    """

    name: str = ""
    licence: str = ""
    data: str = ""
    note: str = ""


@dataclass(frozen=True)
class CheckOptions:
    """What a network that looks at masks is measured on while it trains.

    Attributes:
        faces: about how many are held out of the training, at most a tenth, whole people; 0 for
            no check.
        types: kinds of mask to measure beside those of `masks.types`, normally none of them.

    Raises:
        InputError: on construction, for unknown kinds or a negative number.
    """

    faces: int = 256
    types: str = "kn95,valve,bandana,nist-d,maskinv"

    def __post_init__(self) -> None:
        if self.faces < 0:
            raise InputError(f"check.faces must not be negative, not {self.faces}")
        MaskOptions.parse(types=self.types)

    def masks(self, trained_on: "MaskSettings") -> dict[str, MaskOptions]:
        """Return the sorts of mask to measure: those of the training, and others."""
        return {"seen": trained_on.always(), "unseen": MaskOptions.parse(types=self.types)}


@dataclass(frozen=True)
class MaskSettings:
    """The words `MaskOptions.parse` reads, None leaves its defaults; masks, and a curriculum.

    Attributes:
        types: as all but the last two of these, see `MaskOptions.parse`.
        colors: of the masks.
        textures: of cloth.
        coverage: how high masks sit.
        probability: share of faces that wear one.
        jitter: how differently masks sit.
        worn_from: file of masks that `mfrkit cut-masks` made, for the kind `worn`.
        growth: share of the run over which `probability` grows from 0 in a straight line, [0, 1].

    Raises:
        InputError: on construction, for words it does not know.
    """

    types: str | None = None
    colors: str | None = None
    textures: str | None = None
    coverage: str | None = None
    probability: float = 0.5
    jitter: float = 1.0
    growth: float = 0.0
    worn_from: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.growth <= 1:
            raise InputError(f"masks.growth is a share of the run, from 0 to 1, not {self.growth}")
        kinds = self.parsed().types
        if TEMPLATE in kinds:
            raise InputError("masks.types: template is for synth-mask alone")
        if WORN in kinds and self.worn_from is None:
            raise InputError("masks.types: worn by whom? name the file with masks.worn_from")

    def renderer(self) -> MaskRenderer:
        """Return what draws them.

        Raises:
            InputError: no such file of worn masks.
        """
        if self.worn_from is None:
            return MaskRenderer()
        return MaskRenderer(worn=WornMasks(WornFile.read(Path(self.worn_from)).planes))

    def parsed(self) -> MaskOptions:
        """Return what may be drawn, when the curriculum is over."""
        return MaskOptions.parse(
            **{k: v for k, v in vars(self).items() if k not in ("growth", "worn_from")}
        )

    def always(self) -> MaskOptions:
        """Return the same, drawn on every face."""
        return replace(self.parsed(), probability=1.0)


class RunSettings:
    """Every setting of a run, checked: a dataclass of dataclasses, one for each table.

    Attributes:
        views: how faces vary.
        masks: what is drawn on them.
        fit: of the loop.
        card: what the user says of the model.
    """

    views: ViewOptions
    masks: MaskSettings
    fit: FitOptions
    card: CardOptions

    def to_json(self) -> Tables:
        """Return the settings as tables of JSON types, which `--config` reads again."""
        return {
            name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in vars(table).items()
                if value is not None
            }
            for name, table in vars(self).items()
        }


Resolved = TypeVar("Resolved", bound=RunSettings)


def resolve_settings(
    request: TrainRequest,
    kind: type[Resolved],
    presets: Mapping[str, Preset],
    **tables: type,
) -> Resolved:
    """Lay preset, TOML file, assignments and flags over each other and check the result.

    Args:
        request: names the preset and the layers over it.
        kind: of the settings; its fields are the tables.
        presets: by name.
        tables: dataclasses of those whose field leaves them open.

    Raises:
        InputError: an unknown table, name or preset, or a value that cannot be used.
    """
    kinds = {**typing.get_type_hints(kind), **tables}
    layers = [choose("preset", request.preset, presets)]
    layers += [_checked(tables, where, kinds) for where, tables in request.layers]
    if request.config is not None:
        layers.append(_checked(read_toml(request.config), str(request.config), kinds))
    for text in request.assignments:
        table, name, value = parse_set(text)
        layers.append(_checked({table: {name: value}}, f"--set {text}", kinds))
    merged = _merge([*layers, request.flags])
    return kind(**{name: make(each, merged.get(name, {}), name) for name, each in kinds.items()})


def _checked(
    tables: Mapping[str, Any], where: str, kinds: Mapping[str, type]
) -> Mapping[str, Mapping[str, Any]]:
    for name, table in tables.items():
        if name not in kinds or not isinstance(table, Mapping):
            raise InputError(f"{where}: no table {name!r}{instead(name, [*kinds])}")
    return tables
