"""Options of commands, each declared once, beside the field of the dataclass that holds it.

A field's type says what the option is and which values it takes:

    size: Annotated[int, typer.Option(help="Side of a crop, pixels."), Within(112)] = 112

The command is built from these (`mfrkit.cli.options`), its help and completion among it, and the
dataclass refuses other values whoever makes it. A field without `typer.Option` or
`typer.Argument` is for programs alone. Here stand also the options that several commands have.
"""

import dataclasses
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.models import ParameterInfo

from mfrkit.errors import InputError

Said = TypeVar("Said")


class Offers:
    """Words that completion offers for an option, which may take others."""

    def __init__(self, *words: str) -> None:
        self.words = words


class OneOf(Offers):
    """The words an option takes."""

    def __contains__(self, value: str) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return " or ".join(filter(None, (", ".join(self.words[:-1]), self.words[-1])))


class Within:
    """The range of an option's numbers, of which `above` leaves out the least."""

    def __init__(
        self, least: float, most: float | None = None, unit: str = "", *, above: bool = False
    ) -> None:
        self.least, self.most, self.unit, self.above = least, most, unit, above

    def __contains__(self, value: float) -> bool:
        high_enough = value > self.least if self.above else value >= self.least
        return high_enough and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        if self.most is None:
            return f"{'above' if self.above else 'at least'} {self.least} {self.unit}".strip()
        span = f"above {self.least} and at most" if self.above else f"{self.least} to"
        return f"{self.unit} {span} {self.most}".strip()


class Like:
    """The form of an option's text or file name, as a pattern and in words."""

    def __init__(self, pattern: str, words: str) -> None:
        self.pattern, self.words = pattern, words

    def __contains__(self, value: str | Path) -> bool:
        return re.fullmatch(self.pattern, str(value), re.DOTALL) is not None

    def __str__(self) -> str:
        return self.words


class Usually:
    """The input a command takes where none is named, its maker, and options that need none."""

    def __init__(self, path: str, maker: str, unless: tuple[str, ...] = ()) -> None:
        self.path, self.maker, self.unless = path, maker, unless

    def find(self, *, needed: bool = True) -> str:
        """Return the input; refuse if it is needed and not there."""
        if needed and not Path(self.path).exists():
            raise InputError(
                f"{self.path}: not here yet; {self.maker} makes it, or name another input"
            )
        return self.path


class Setting:
    """The setting of a training run, `table.name`, that an option stands for."""

    def __init__(self, place: str) -> None:
        self.place = place


class Some:
    """Those options of a group that a command has; the others keep their defaults."""

    def __init__(self, *names: str) -> None:
        self.names = names


@dataclass(frozen=True)
class Declared:
    """What a field says: the type of its values, and what stands beside it."""

    field: "dataclasses.Field[Any]"
    values: Any
    said: tuple[Any, ...]

    def first(self, kind: type[Said]) -> Said | None:
        """Return what is said in one of the classes above, None if nothing is."""
        return next((each for each in self.said if isinstance(each, kind)), None)

    @property
    def option(self) -> ParameterInfo | None:
        """Return the option as Typer wants it; None for a group of options or none at all."""
        return self.first(ParameterInfo)

    @property
    def flag(self) -> str:
        """Return how the option is written."""
        given = (name for name in names_of(self.option) if name.startswith("--"))
        return next(given, f"--{self.field.name.replace('_', '-')}")


def names_of(option: Any) -> list[str]:
    """Return how an option is written where that is said; Typer keeps the first in `default`."""
    given = (getattr(option, "default", None), *(getattr(option, "param_decls", None) or ()))
    return [each for each in given if isinstance(each, str)]


_DECLARED: dict[type[Any], tuple[Declared, ...]] = {}


def declared(kind: type[Any]) -> tuple[Declared, ...]:
    """Return what the fields of a dataclass of options say, in their order."""
    if kind not in _DECLARED:
        hints = typing.get_type_hints(kind, include_extras=True)
        _DECLARED[kind] = tuple(_declared(f, hints[f.name]) for f in dataclasses.fields(kind))
    return _DECLARED[kind]


def _declared(field: "dataclasses.Field[Any]", hint: Any) -> Declared:
    said = getattr(hint, "__metadata__", ())
    return Declared(field, hint.__origin__ if said else hint, said)


class Checked:
    """A dataclass of options that holds its values against what its fields say."""

    def __post_init__(self) -> None:
        """Refuse a value that is none of the words, or out of its range."""
        for each in declared(type(self)):
            allowed = each.first(OneOf) or each.first(Within) or each.first(Like)
            for value in _single(getattr(self, each.field.name)):
                if allowed is not None and value not in allowed:
                    named = isinstance(value, (str, Path))
                    shown = repr(str(value)) if named else f"{value:g}"
                    raise InputError(f"{each.flag} {shown}: expected {allowed}")


def _single(value: Any) -> Iterator[Any]:
    """Yield the values of a field that may hold several, or none."""
    if value is not None:
        yield from value if isinstance(value, tuple) else (value,)


Device = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps."),
    Like(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:N or mps"),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace an earlier result.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of everything random.")
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
ImageFormat = Annotated[
    str,
    typer.Option("--format", help="png (lossless) or jpg (quality 95, a third of the size)."),
    OneOf("png", "jpg"),
]
RecogniserName = Annotated[
    str, typer.Option("--model", "-m", help="Bundled name or model file, .onnx, .pth, .ckpt.")
]
PictureName = Like(r".*\.(png|jpg)", "a name ending in .png or .jpg")
Preview = Annotated[
    Path | None,
    typer.Option("--preview", help="Write a contact sheet of the first faces."),
    PictureName,
]
