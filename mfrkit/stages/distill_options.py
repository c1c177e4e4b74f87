"""The resolved options of one distillation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfrkit.config import RunOptions
from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.stages.distill_methods import METHODS
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.presets import find_preset
from mfrkit.stages.settings import make, merge, parse_set, read_toml


@dataclass(frozen=True)
class DistillRequest:
    """What the command line says.

    Attributes:
        data: sources of crops.
        output: model file to write.
        teachers: recognisers, by name or file.
        method: of distillation.
        preset: of settings.
        config: TOML file over the preset, or None.
        assignments: `table.name=value` texts over both.
        flags: tables of the options that have flags of their own, over all; None is not given.
        seed: of everything random.
        teacher_cache: HDF5 file of the teachers' templates, or None to compute them at each step.
        pairs: pair list to check on, or None.
        pair_crops: crops it names.
        command: the command line, for the card.
        run: device, threads, resume, force, dry run.
    """

    data: tuple[str, ...]
    output: Path
    teachers: tuple[str, ...] = ("arcface",)
    method: str = "maskinv"
    preset: str = "small"
    config: Path | None = None
    assignments: tuple[str, ...] = ()
    flags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    teacher_cache: Path | None = None
    pairs: Path | None = None
    pair_crops: str | None = None
    command: str = ""
    run: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True)
class ModelOptions:
    """What is trained.

    Attributes:
        student: architecture.
        init: `teacher` starts from the first teacher's weights, `scratch` from fresh ones,
            anything else names a model; `auto` is `teacher` if the architectures are the same.
        embedding: D of a fresh student; 0 takes the first teacher's.
    """

    student: str = "mobilefacenet"
    init: str = "auto"
    embedding: int = 0


@dataclass(frozen=True)
class CardOptions:
    """What the student's card says beside what the run knows itself.

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
class MaskSettings:
    """The words `MaskOptions.parse` reads, None leaves its defaults; and a curriculum.

    Attributes:
        types: as all but the last of these, see `MaskOptions.parse`.
        colors: of the masks.
        textures: of cloth.
        coverage: how high masks sit.
        probability: share of faces that wear one.
        jitter: how differently masks sit.
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

    def __post_init__(self) -> None:
        if not 0 <= self.growth <= 1:
            raise InputError(f"masks.growth is a share of the run, from 0 to 1, not {self.growth}")
        self.parsed()

    def parsed(self) -> MaskOptions:
        """Return what may be drawn, when the curriculum is over."""
        return MaskOptions.parse(**{k: v for k, v in vars(self).items() if k != "growth"})


@dataclass(frozen=True)
class Settings:
    """Every setting of a run, checked.

    Attributes:
        model: what is trained.
        method: what pulls it; the class is the method's own.
        views: how faces vary.
        masks: the words behind the masks.
        fit: of the loop.
        card: of the student.
    """

    model: ModelOptions
    method: Any
    views: ViewOptions
    masks: MaskSettings
    fit: FitOptions
    card: CardOptions

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain tables, which `--config` reads again."""
        return {
            name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in vars(table).items()
                if value is not None
            }
            for name, table in vars(self).items()
        }


_TABLES = ("model", "method", "views", "masks", "fit", "card")


def resolve(request: DistillRequest) -> Settings:
    """Lay preset, TOML file, assignments and flags over each other and check the result.

    Raises:
        InputError: an unknown table, name, method or preset, or a value that cannot be used.
    """
    layers: list[Mapping[str, Mapping[str, Any]]] = [find_preset(request.method, request.preset)]
    if request.config is not None:
        layers.append(_checked(read_toml(request.config), str(request.config)))
    for text in request.assignments:
        table, name, value = parse_set(text)
        layers.append(_checked({table: {name: value}}, f"--set {text}"))
    layers.append(
        {t: {k: v for k, v in vs.items() if v is not None} for t, vs in request.flags.items()}
    )
    tables = merge(layers)
    return Settings(
        model=make(ModelOptions, tables.get("model", {}), "model"),
        method=make(METHODS[request.method].options, tables.get("method", {}), "method"),
        views=make(ViewOptions, tables.get("views", {}), "views"),
        masks=make(MaskSettings, tables.get("masks", {}), "masks"),
        fit=make(FitOptions, tables.get("fit", {}), "fit"),
        card=make(CardOptions, tables.get("card", {}), "card"),
    )


def _checked(tables: Mapping[str, Any], where: str) -> Mapping[str, Mapping[str, Any]]:
    for name, table in tables.items():
        if name not in _TABLES or not isinstance(table, Mapping):
            raise InputError(f"{where}: no table {name!r}; known are {', '.join(_TABLES)}")
    return tables
