"""How a network of another program wants its faces: what is known of it, and what the user says."""

from dataclasses import dataclass, replace
from typing import Annotated, cast, get_args

import typer

from mfrkit.errors import InputError
from mfrkit.models.cards import ColourOrder, ModelCard, Triple


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
    """What the user says of a network's input; None leaves it to what is assumed.

    Convention:
        As in a card: mean and std in RGB order, for values from 0 to 1.
    """

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

    @classmethod
    def parse(
        cls, colour: str | None = None, mean: str | None = None, std: str | None = None
    ) -> "Feeding":
        """Read the options `--colour`, `--mean` and `--std`.

        Args:
            colour: RGB or BGR.
            mean: one number, or three with commas between; each may be a fraction.
            std: likewise, positive.

        Raises:
            InputError: something else.

        Example:
            >>> Feeding.parse("bgr", "127.5/255", "0.5,0.5,0.25")
            Feeding(colour='BGR', mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.25))
        """
        return cls(
            None if colour is None else _colour(colour),
            None if mean is None else _mean(mean),
            None if std is None else _std(std),
        )

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
