"""Model cards: what is needed to feed a network correctly and to know where it comes from.

A card travels inside its model file, so the file is all that loading needs. No torch and no numpy
here: `mfrkit models list` must answer at once.

A recogniser's card also says at which similarity two faces count as one person's. Masks make
strangers alike and one person's photos unlike, so a threshold holds for one state of the two
faces only, and for embeddings averaged with the mirror image, as `embed` makes them.

A file of another program has no card. How it is fed is assumed, unless the user says it: `Feeding`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from typing import Annotated, Any, Literal, cast, get_args, get_type_hints

import typer

from mfrkit.errors import InputError, WeightsError

# The states of two faces, as a card names them.
UNMASKED, MIXED, MASKED = "unmasked-unmasked", "unmasked-masked", "masked-masked"
STATES = (UNMASKED, MIXED, MASKED)


@dataclass(frozen=True, kw_only=True)
class Operating:
    """A threshold, and what it did where it was set.

    Attributes:
        fmr: the false match rate it keeps to there, in (0, 1].
        threshold: cosine similarity; two faces match at this or above.
        fnmr: share of one person's comparisons that miss it, in [0, 1].
        genuine: comparisons of one person.
        impostors: comparisons of two.
    """

    fmr: float
    threshold: float
    fnmr: float
    genuine: int
    impostors: int

    def __post_init__(self) -> None:
        """Refuse what no measurement gives, as ValueError."""
        within = 0 < self.fmr <= 1 and 0 <= self.fnmr <= 1 and -1 <= self.threshold <= 1.001
        if not within or min(self.genuine, self.impostors) < 1:
            raise ValueError(f"thresholds: {self} is out of range")


Thresholds = Mapping[str, Sequence[Operating]]


def state_of(first_masked: bool, second_masked: bool) -> str:
    """Return what a card calls the state of two faces."""
    return STATES[first_masked + second_masked]


def read_thresholds(plain: Any) -> dict[str, tuple[Operating, ...]]:
    """Rebuild thresholds from JSON types, state -> objects; fields of later versions are ignored.

    Raises:
        KeyError: a field is missing.
        TypeError: not of this form.
        ValueError: an unknown state, or a value out of range.
    """
    if not isinstance(plain, Mapping):
        raise TypeError("thresholds is not an object")
    unknown = sorted(set(plain) - set(STATES))
    if unknown:
        raise ValueError(f"thresholds of unknown states: {', '.join(unknown)}")
    return {state: tuple(map(_operating, points)) for state, points in plain.items()}


def _operating(point: Mapping[str, Any]) -> Operating:
    kinds = get_type_hints(Operating)
    return Operating(**{name: kind(point[name]) for name, kind in kinds.items()})


Task = Literal["recognition", "detection", "landmarks", "completion", "region", "unmasking"]
ColourOrder = Literal["RGB", "BGR"]
Triple = tuple[float, float, float]

SCHEMA = 1
_OBJECTS = ("arguments", "base", "shared", "config", "metrics")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What travels with the weights.

    Convention:
        `mean` and `std` are in RGB order whatever `colour` says, for values in [0, 1].

    Attributes:
        name: what the model is called on the command line.
        task: what it is for.
        also: further tasks that parts of it do.
        architecture: name in `mfrkit.models.registry.ARCHITECTURES`.
        arguments: keyword arguments of the architecture.
        input_size: (height, width) in pixels; None where any size will do.
        colour: channel order the network was trained with.
        mean: subtracted from each channel.
        std: each channel is divided by it afterwards.
        embedding_dim: D of a recogniser or of the templates an unmasking network takes, None for
            other tasks.
        base: whose templates an unmasking network takes: `model`, `weights_sha256` and `flip` of
            their embedding files.
        shared: parts of the network whose weights its file leaves out -> the bundled model whose
            weights they are.
        licence: of the weights.
        source: where the weights come from.
        paper: the publication.
        data: what they were trained on.
        training: the command that trained them, empty when trained elsewhere.
        config: the resolved options of that command.
        metrics: what was measured with them, by name.
        thresholds: of a recogniser, by the state of the two faces compared.
        note: anything a user must know.
        sha256: of the tensor bytes in the model file, filled in when it is written.
    """

    name: str
    task: Task
    architecture: str
    also: tuple[Task, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input_size: tuple[int, int] | None = (112, 112)
    colour: ColourOrder = "RGB"
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)
    embedding_dim: int | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    paper: str = ""
    data: str = ""
    training: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=dict)
    note: str = ""
    sha256: str = ""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Return all it is for, the main task first."""
        return (self.task, *self.also)

    def as_part(self) -> "ModelCard":
        """Return the card for a part of another model.

        How it was made stays with it, what it was measured at and with which settings does not.
        """
        return replace(self, config={}, metrics={}, thresholds={}, sha256="")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types, for the model file."""
        plain = {"schema": SCHEMA, **asdict(self)}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> "ModelCard":
        """Rebuild a card from a model file; fields of later versions are ignored.

        Raises:
            WeightsError: made by a newer, incompatible version, a field is missing, or holds
                what it cannot hold.
        """
        if card.get("schema") != SCHEMA:
            raise WeightsError(
                f"model card of schema {card.get('schema')!r}, expected {SCHEMA}; update mfrkit"
            )
        try:
            known = {f.name: card[f.name] for f in fields(cls) if f.name in card}
            known["also"] = tuple(known.get("also", ()))
            size = known.get("input_size")
            known["input_size"] = None if size is None else _numbers(size, int, 2)
            known["mean"] = _numbers(known["mean"], float, 3)
            known["std"] = _numbers(known["std"], float, 3)
            known["thresholds"] = read_thresholds(known.get("thresholds", {}))
            built = cls(**known)
            _check(built)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise WeightsError(f"damaged model card: {error}") from error
        return built


def _numbers(values: Any, kind: type, count: int) -> Any:
    numbers = tuple(kind(value) for value in values)
    if len(numbers) != count:
        raise ValueError(f"expected {count} numbers, got {list(numbers)}")
    return numbers


def _check(card: ModelCard) -> None:
    """Refuse values of the wrong type or out of range, as ValueError or TypeError."""
    for task in card.tasks:
        if task not in get_args(Task):
            raise ValueError(f"unknown task {task!r}")
    if card.colour not in get_args(ColourOrder):
        raise ValueError(f"unknown colour order {card.colour!r}")
    if not all(isfinite(value) for value in (*card.mean, *card.std)) or min(card.std) <= 0:
        raise ValueError(f"mean {list(card.mean)}, std {list(card.std)}")
    if card.input_size is not None and not 0 < min(card.input_size) <= max(card.input_size) <= 4096:
        raise ValueError(f"input size {list(card.input_size)}")
    _check_types(card)


def _check_types(card: ModelCard) -> None:
    for each in fields(card):
        value = getattr(card, each.name)
        if each.type is str and not isinstance(value, str):
            raise TypeError(f"{each.name} is no text")
        if each.name in _OBJECTS and not isinstance(value, Mapping):
            raise TypeError(f"{each.name} is not an object")
    if not isinstance(card.embedding_dim, int | None):
        raise TypeError("embedding_dim is no whole number")
    if not all(isinstance(model, str) for model in card.shared.values()):
        raise TypeError("shared does not name models")


def _colour(text: str) -> ColourOrder:
    if text.upper() not in get_args(ColourOrder):
        raise InputError(f"--colour {text!r}: expected RGB or BGR")
    return cast(ColourOrder, text.upper())


def _mean(text: str) -> Triple:
    return _triple("--mean", text)


def _std(text: str) -> Triple:
    scale = _triple("--std", text)
    if min(scale) <= 0:
        raise InputError(f"--std {text!r}: expected numbers above 0")
    return scale


@dataclass(frozen=True)
class Feeding:
    """What the user says of a network's input, as in a card; None leaves it to what is assumed."""

    colour: Annotated[
        ColourOrder | None,
        typer.Option(help="RGB or BGR, as a model of another program is fed.", parser=_colour),
    ] = None
    mean: Annotated[
        Triple | None,
        typer.Option(help="Subtracted from values in 0..1: 0.5, 127.5/255 or R,G,B.", parser=_mean),
    ] = None
    std: Annotated[
        Triple | None,
        typer.Option(help="What they are then divided by: 0.5, 1/255 or R,G,B.", parser=_std),
    ] = None

    def apply(self, card: ModelCard) -> ModelCard:
        """Return a card with what the user says in place of what was assumed.

        Vectors of one file fed in two ways are not comparable, so the hash differs as well.
        """
        import hashlib  # a hundredth of a second, which help does without

        said = {name: value for name, value in vars(self).items() if value is not None}
        if not said:
            return card
        fed = replace(card, **said)
        digest = hashlib.sha256(f"{card.sha256}{fed.colour}{fed.mean}{fed.std}".encode())
        note = f"{describe(fed)}, as the user says."
        return replace(fed, note=note, sha256=digest.hexdigest())


ASSUMED = Feeding()


def describe(card: ModelCard) -> str:
    """Say how a card's network is fed.

    Example:
        >>> describe(ModelCard(name="a", task="recognition", architecture="onnx"))
        'Fed RGB, (value - 127.5) / 127.5 of values from 0 to 255'
    """
    mean, std = ([round(255 * v, 3) for v in values] for values in (card.mean, card.std))
    if set(mean) == {0} and set(std) in ({1}, {255}):
        return f"Fed {card.colour}, values from 0 to {255 if std[0] == 1 else 1}"
    return f"Fed {card.colour}, (value - {_short(mean)}) / {_short(std)} of values from 0 to 255"


def _short(values: list[float]) -> str:
    different = list(dict.fromkeys(values))
    shown = ", ".join(f"{value:g}" for value in (different if len(different) == 1 else values))
    return shown if len(different) == 1 else f"({shown})"


def _triple(option: str, text: str) -> Triple:
    try:
        values = [_fraction(part) for part in text.split(",")]
        red, green, blue = values * (3 // len(values))
    except (ValueError, ZeroDivisionError) as error:
        wanted = "one number, or three: 0.5,0.5,0.5"
        raise InputError(f"{option} {text!r}: expected {wanted}") from error
    return red, green, blue


def _fraction(text: str) -> float:
    above, slash, below = text.partition("/")
    value = float(above) / (float(below) if slash else 1)
    if not abs(value) <= 1000:
        raise ValueError(f"{value} is no mean or std of values from 0 to 1")
    return value


# Bundled name -> SHA-256 of its whole file `mfrkit/data/weights/<name>.safetensors`.
BUNDLED: Mapping[str, str] = {
    "arcface": "e46dabcdf04509bf662142ef3d2deda8274d038ef9f99551ea45f689ab1904ae",
    "completion": "50d6954a07fe2687d464bed04cb925438f689b4497d478aef4ae1035d85f8a9c",
    "deocclusion": "e394789201c4cdfde56b01135a5111ff1b5c88bc3e156696ec4f31b91f4c75d4",
    "edgeface": "508ccfdb738f62967a6552a2da3f8aa3795f932f6fdc5b7e4ca8ea5458c3f01b",
    "eum": "a19f454db86b736976bf9196a91f0a461bd51f4faa18aa4275f08fe83270ab72",
    "facemesh": "a40a2731b08dca5ade1372861d8cbfb67f1d20b0032c4d585f8d25ba40a26fc3",
    "g2d": "915bc9aa780de16fa8dbb0f8380a264459e20ba30b8a9feaada2b738a52f88f6",
    "maskinv": "24e57d1151359d9c970aaf14dd4cff25a3f6450ec653eb161adcd582bb96c116",
    "maskinv-edge": "9ce26a7cac51b9a022b8ecd79b745eba615abf2cd615e58f15a133ca692de3f0",
    "meer": "1d345d2e42ebd0e6e3577d4e3fc044d7e5d905dab3bfd4e2c59fa806c6bd7285",
    "mfr": "60a156ab5d8415cc8b4290b8b65f1b62200fc22f5587b916ed59e909df4ef5c1",
    "mtcnn": "fc73ccad73fca569e1bd2e3b6de19623eacd7b231db677b25b53840dcf9291b4",
    "region": "2bc6fa7b8241088fc86b9e88383d4c19a17c5aa46e45c4a7de6010b1af92c0e3",
    "yunet": "165b4296f4f8959fa3cb0e7e7e28280e262bf2bde5d8aa41fbafcbded300b2bd",
}
