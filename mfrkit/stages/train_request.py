"""What every training command is asked for, and how its tables of settings are resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfrkit.config import RunOptions
from mfrkit.errors import InputError, instead
from mfrkit.masks.catalog import TEMPLATE, WORN
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.worn import WornFile, WornMasks
from mfrkit.stages.presets import Preset
from mfrkit.stages.settings import make, merge, parse_set, read_toml


@dataclass(frozen=True)
class TrainRequest:
    """What the command line of a training command says.

    Attributes:
        data: sources of crops.
        output: model file to write.
        preset: of settings.
        layers: tables over the preset, each with where it comes from, for messages.
        config: TOML file over them, or None.
        assignments: `table.name=value` texts over both.
        flags: tables of the options that have flags of their own, over all; None is not given.
        seed: of everything random.
        command: the command line, for the card.
        run: device, threads, resume, force, dry run.
    """

    data: tuple[str, ...]
    output: Path
    preset: str = "small"
    layers: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    config: Path | None = None
    assignments: tuple[str, ...] = ()
    flags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    command: str = ""
    run: RunOptions = field(default_factory=RunOptions)


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


def resolve_tables(
    request: TrainRequest, preset: Preset, kinds: Mapping[str, type]
) -> dict[str, Any]:
    """Lay preset, TOML file, assignments and flags over each other and check the result.

    Args:
        request: names the layers over the preset.
        preset: the lowest layer.
        kinds: the dataclass behind each table.

    Returns:
        One instance of its dataclass for each table.

    Raises:
        InputError: an unknown table or name, or a value that cannot be used.
    """
    layers = [preset, *(_checked(tables, where, kinds) for where, tables in request.layers)]
    if request.config is not None:
        layers.append(_checked(read_toml(request.config), str(request.config), kinds))
    for text in request.assignments:
        table, name, value = parse_set(text)
        layers.append(_checked({table: {name: value}}, f"--set {text}", kinds))
    layers.append(
        {t: {k: v for k, v in vs.items() if v is not None} for t, vs in request.flags.items()}
    )
    tables = merge(layers)
    return {name: make(kind, tables.get(name, {}), name) for name, kind in kinds.items()}


def _checked(
    tables: Mapping[str, Any], where: str, kinds: Mapping[str, type]
) -> Mapping[str, Mapping[str, Any]]:
    for name, table in tables.items():
        if name not in kinds or not isinstance(table, Mapping):
            raise InputError(f"{where}: no table {name!r}{instead(name, [*kinds])}")
    return tables


def plain_tables(tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return tables of settings as JSON types, which `--config` reads again.

    Example:
        >>> plain_tables({"masks": MaskSettings(types="cloth")})
        {'masks': {'types': 'cloth', 'probability': 0.5, 'jitter': 1.0, 'growth': 0.0}}
    """
    return {
        name: {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(table).items()
            if value is not None
        }
        for name, table in tables.items()
    }
