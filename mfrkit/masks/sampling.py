"""Draw a mask's parameters from a seed and a key, and from nothing else.

The generator is seeded by a hash of both, so a face gets the same mask whatever the order, batch,
worker or shard it is met in. All randomness of a face is one vector drawn at once and handed out in
a fixed order: an option that fixes one parameter leaves the others as they were.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mfrkit.masks.catalog import (
    BARE,
    COLORS,
    PASTED,
    PASTED_COLORS,
    PASTED_SHIFTS,
    Color,
    Kind,
)
from mfrkit.masks.kinds import KINDS
from mfrkit.masks.options import MaskOptions, parse_color
from mfrkit.masks.spec import MaskSpec

_DRAWS = 96


def sample_spec(seed: int, key: str, options: MaskOptions) -> MaskSpec:
    """Draw the mask of one face.

    Args:
        seed: The run's seed, any integer.
        key: Name of the face, unique in the run, such as its manifest path.
        options: What may be drawn.

    Returns:
        The spec; the same for the same arguments, on every machine.

    Example:
        >>> a, b = (sample_spec(7, "ann/0001.jpg", MaskOptions()) for _ in range(2))
        >>> a == b, a == sample_spec(8, "ann/0001.jpg", MaskOptions())
        (True, False)
    """
    draws = _uniforms(seed, key)
    bare = next(draws) >= options.probability
    kind = KINDS[_pick(options.types, next(draws))]
    coverage = _pick(options.coverage, next(draws))
    wear = _wear(0.0 if kind.flat else options.jitter, draws)
    color, accent = _colors(kind, options.colors, draws)
    pleats = _between(kind.pleats[0], kind.pleats[1] + 0.999, draws)
    spec = MaskSpec(
        kind=BARE if bare else kind.name,
        coverage=coverage,
        color=color,
        accent=accent,
        pleats=int(pleats),
        texture=_pick(_allowed(kind.textures, options.textures), next(draws)),
        grain_row=int(256 * next(draws)),
        grain_column=int(256 * next(draws)),
        cords=next(draws) < 0.8,
        jpeg=not kind.flat,
        **wear,
        **_surface(kind, draws),
    )
    return _as_published(spec, options, draws) if kind.name in PASTED else spec


def _as_published(spec: MaskSpec, options: MaskOptions, draws: Iterator[float]) -> MaskSpec:
    """Draw colour and shift as the MaskInv training code does; jitter 0 is its evaluation."""
    red, green, blue = (int(PASTED_COLORS * next(draws)) for _ in range(3))
    color = spec.color if options.colors else (red / 255, green / 255, blue / 255)
    right, down = (float(int(2 * size * next(draws)) - size) for size in PASTED_SHIFTS)
    if not options.jitter:
        right = down = 0.0
    return replace(spec, color=color, shift_x=right, shift_y=down)


def _wear(jitter: float, draws: Iterator[float]) -> dict[str, Any]:
    """Draw how the mask sits."""
    return {
        "lift": 0.035 * jitter * _bell(draws),
        "shift_x": 0.03 * jitter * _bell(draws),
        "shift_y": 0.035 * jitter * _bell(draws),
        "tilt": 0.05 * jitter * _bell(draws),
        "width": 1 + 0.045 * jitter * _bell(draws),
        "height": 1 + 0.045 * jitter * _bell(draws),
        "slack": 0.012 * jitter * next(draws),
    }


def _surface(kind: Kind, draws: Iterator[float]) -> dict[str, Any]:
    """Draw folds, where the texture lies, and how light and camera treat it."""
    return {
        "pleat_depth": _between(0.012, 0.03, draws),
        "crease": _between(*kind.crease, draws),
        "crease_u": next(draws),
        "crease_v": next(draws),
        "texture_scale": _between(0.75, 1.6, draws),
        "texture_turn": 0.2 * _bell(draws) + (math.pi / 4 if next(draws) < 0.2 else 0.0),
        "texture_u": next(draws),
        "texture_v": next(draws),
        "light": _between(0.75, 1.0, draws),
        "exposure": 1 + 0.08 * _bell(draws),
        "round": _between(0.15, 0.4, draws),
        "shadow": _between(0.2, 0.5, draws),
        "soft": _between(0.004, 0.02, draws),
        "grain": _between(0.004, 0.016, draws),
    }


def _uniforms(seed: int, key: str) -> Iterator[float]:
    """Yield the face's numbers in [0, 1)."""
    text = f"{seed}\0{key}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=16).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    return iter(generator.random(_DRAWS).tolist())


def _bell(draws: Iterator[float]) -> float:
    """Return a draw of unit variance, bell-shaped, never beyond 3."""
    return 2 * (next(draws) + next(draws) + next(draws)) - 3


def _between(low: float, high: float, draws: Iterator[float]) -> float:
    return low + (high - low) * next(draws)


def _pick(weights: Mapping[str, float], draw: float) -> str:
    """Return the name on which a draw in [0, 1) falls."""
    left = draw * sum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return name


def _allowed(own: Mapping[str, float], wanted: Mapping[str, float] | None) -> Mapping[str, float]:
    """Return the wanted textures that a kind has, or its own mix if it has none of them."""
    return {name: w for name, w in (wanted or {}).items() if name in own} or own


def _colors(
    kind: Kind, wanted: Mapping[str, float] | None, draws: Iterator[float]
) -> tuple[Color, Color]:
    """Draw cloth and accent colour; named colours vary as dyes do, hexadecimal ones do not."""
    name = _pick(wanted or kind.colors, next(draws))
    partner = _pick(dict.fromkeys(COLORS, 1.0), next(draws))
    spread = 0.0 if name.startswith("#") or kind.flat else 0.03
    return _dye(parse_color(name), spread, draws), _dye(COLORS[partner], 0.03, draws)


def _dye(color: Color, spread: float, draws: Iterator[float]) -> Color:
    """Shift a colour's brightness, and each channel by half as much again."""
    level = spread * _bell(draws)
    red, green, blue = (min(max(c + level + spread / 2 * _bell(draws), 0.02), 0.98) for c in color)
    return (red, green, blue)
