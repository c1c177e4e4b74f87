"""What may be drawn: kinds, colours, textures and coverage with their weights, checked once."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from mfrkit.errors import InputError
from mfrkit.masks.kinds import COLORS, COVERAGES, KINDS, OWN, Color, Weights

_EVERYDAY: Weights = {k.name: k.everyday for k in KINDS.values() if k.everyday}
_NORMAL: Weights = {"above": 1.0}


def parse_weights(text: str, known: Iterable[str], what: str) -> dict[str, float]:
    """Read `name:weight,name:weight`, in this order; a name alone weighs 1.

    Args:
        text: The user's list.
        known: The names there are.
        what: What the names are, for the message.

    Raises:
        InputError: the list is empty, a name is unknown or repeated, or a weight is not a
            positive number.

    Example:
        >>> parse_weights("surgical:3,cloth", KINDS, "mask type")
        {'surgical': 3.0, 'cloth': 1.0}
    """
    weights: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, colon, number = part.partition(":")
        name = name.strip().lower()
        check_name(name, known, what)
        if name in weights:
            raise InputError(f"{what} {name!r} is listed twice.")
        weights[name] = _positive(number, f"{what} {name!r}") if colon else 1.0
    if not weights:
        raise InputError(f"no {what} given. Known: {', '.join(known)}.")
    return weights


def check_name(name: str, known: Iterable[str], what: str) -> None:
    """Raise InputError, with the nearest and all known names, unless `name` is one of `known`."""
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=2)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"unknown {what} {name!r}.{hint} Known: {', '.join(names)}.")


def parse_color(text: str) -> Color:
    """Read a name in `COLORS`, `#rgb` or `#rrggbb` as RGB in [0, 1].

    Raises:
        InputError: neither.

    Example:
        >>> parse_color("#ff0000")
        (1.0, 0.0, 0.0)
    """
    word = text.strip().lower()
    if not word.startswith("#"):
        check_name(word, COLORS, "mask colour (or #rrggbb)")
        return COLORS[word]
    digits = word[1:] if len(word) == 7 else "".join(2 * d for d in word[1:])
    if len(digits) != 6 or not set(digits) <= set("0123456789abcdef"):
        raise InputError(f"mask colour {text!r} is not #rgb or #rrggbb.")
    red, green, blue = bytes.fromhex(digits)
    return (red / 255, green / 255, blue / 255)


def parse_colors(text: str) -> dict[str, float]:
    """Read `colour:weight,...` where a colour is a name or `#rrggbb`; errors as `parse_color`."""
    words = [part.partition(":")[0].strip().lower() for part in text.split(",") if part.strip()]
    for word in words:
        parse_color(word)
    return parse_weights(text, words, "mask colour")


@dataclass(frozen=True)
class MaskOptions:
    """What `sample_spec` draws from.

    Attributes:
        types: Kind to weight.
        colors: Colour name or hex to weight; None leaves each kind its natural mix.
        textures: Texture to weight; None leaves each kind its natural mix. A kind that has none
            of them keeps its own.
        coverage: Coverage to weight.
        probability: Share of faces that get a mask at all, [0, 1].
        jitter: Factor on all random shifts, turns and sizes: 0 wears every mask alike.

    Raises:
        InputError: on construction, for an unknown name or a number out of range.
    """

    types: Weights = field(default_factory=lambda: _EVERYDAY)
    colors: Weights | None = None
    textures: Weights | None = None
    coverage: Weights = field(default_factory=lambda: _NORMAL)
    probability: float = 1.0
    jitter: float = 1.0

    def __post_init__(self) -> None:
        _check_weights(self.types, KINDS, "mask type")
        _check_weights(self.coverage, COVERAGES, "coverage")
        if self.textures is not None:
            _check_weights(self.textures, texture_names(), "texture")
        if self.colors is not None:
            for color in self.colors:
                parse_color(color)
            _check_weights(self.colors, self.colors, "mask colour")
        if not 0 <= self.probability <= 1:
            raise InputError(
                f"the mask probability must be within 0 and 1, not {self.probability}."
            )
        if not 0 <= self.jitter <= 2:
            raise InputError(f"the mask jitter must be within 0 and 2, not {self.jitter}.")

    @classmethod
    def parse(
        cls,
        types: str | None = None,
        colors: str | None = None,
        textures: str | None = None,
        coverage: str | None = None,
        probability: float = 1.0,
        jitter: float = 1.0,
    ) -> Self:
        """Build options from a command line's words; None keeps a default; errors as for the class.

        Args:
            types: Such as `surgical:3,cloth:1`, or `all` (but the user's own).
            colors: Such as `black,#1e90ff:2`.
            textures: Such as `plain:2,check`.
            coverage: Such as `above:8,on:1,below:1`.
            probability: Share of faces masked.
            jitter: Factor on random placement.

        Example:
            >>> MaskOptions.parse(types="n95", colors="white").colors
            {'white': 1.0}
        """

        def read(text: str | None, known: Iterable[str], what: str) -> Weights | None:
            return None if text is None else parse_weights(text, known, what)

        if types == "all":
            types = ",".join(name for name in KINDS if name not in OWN)
        return cls(
            types=read(types, KINDS, "mask type") or _EVERYDAY,
            colors=None if colors is None else parse_colors(colors),
            textures=read(textures, texture_names(), "texture"),
            coverage=read(coverage, COVERAGES, "coverage") or _NORMAL,
            probability=probability,
            jitter=jitter,
        )


def texture_names() -> list[str]:
    """Return every texture that some kind has, plainest first."""
    return list(dict.fromkeys(name for kind in KINDS.values() for name in kind.textures))


def _positive(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf"):
        raise InputError(f"the weight of {what} must be a positive number, not {text!r}.")
    return number


def _check_weights(weights: Mapping[str, float], known: Iterable[str], what: str) -> None:
    """Raise unless there is at least one name, all known, with positive finite weights."""
    names = list(known)
    if not weights:
        raise InputError(f"no {what} given. Known: {', '.join(names)}.")
    for name, weight in weights.items():
        check_name(name, names, what)
        _positive(str(weight), f"{what} {name!r}")
