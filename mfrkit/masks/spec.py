"""One face's mask as plain numbers: everything drawn at random, and nothing else.

Sampling a spec and drawing it are separate, so that a manifest holds the spec and re-renders the
same picture. The generator is seeded by a hash of a seed and a key, so a face gets the same mask
whatever the order, batch, worker or shard it is met in. All randomness of a face is one vector
drawn at once and handed out in a fixed order: an option that fixes one parameter leaves the
others as they were.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from mfrkit.errors import InputError
from mfrkit.masks.kinds import (
    BARE,
    COLORS,
    COVERAGES,
    KINDS,
    PASTED,
    PASTED_COLORS,
    PASTED_SHIFTS,
    Color,
    Kind,
)
from mfrkit.masks.options import MaskOptions, parse_color


@dataclass(frozen=True)
class MaskSpec:
    """How one mask looks and sits; lengths in face units, the distance between the eyes.

    Attributes:
        kind: Name in `KINDS`, or "none" for a face left alone.
        color: Cloth colour, RGB in [0, 1], before lighting.
        accent: Second colour of the texture.
        texture: Name of the texture, one of its kind's.
        coverage: Name in `COVERAGES`.
        lift: Upper edge moved down by this much.
        shift_x: Whole mask moved to the picture's right. Of a pasted picture ("maskinv"), both
            shifts are in its own pixels.
        shift_y: Whole mask moved down.
        tilt: Turn in the plane of the face, radians, clockwise.
        width: Factor on the mask's width.
        height: Factor on its height.
        slack: Depth of the waves along the outline where it does not lie flat.
        pleats: Number of horizontal folds.
        pleat_depth: Depth of each.
        crease: Depth of random wrinkles.
        crease_u, crease_v: Where in the wrinkle field this mask lies, [0, 1).
        texture_scale: Factor on the size of the texture.
        texture_turn: Turn of the texture, radians.
        texture_u, texture_v: Where in the texture this mask lies, [0, 1).
        light: How far the face's own light is followed, 0 not at all, 1 fully.
        exposure: Factor on the brightness.
        round: Darkening towards the ears.
        shadow: Darkness of the contact shadow, [0, 1].
        soft: Width of the soft edge beyond one pixel.
        grain: How strongly the photo's own noise is copied: 1 + grain / 0.02 times.
        grain_row, grain_column: Where in the noise field this picture lies, pixels.
        cords: Whether ear loops or straps show.
        jpeg: Whether the photo's own JPEG grain is copied; not in manifests older than it.
    """

    kind: str
    color: Color
    accent: Color
    texture: str
    coverage: str
    lift: float
    shift_x: float
    shift_y: float
    tilt: float
    width: float
    height: float
    slack: float
    pleats: int
    pleat_depth: float
    crease: float
    crease_u: float
    crease_v: float
    texture_scale: float
    texture_turn: float
    texture_u: float
    texture_v: float
    light: float
    exposure: float
    round: float
    shadow: float
    soft: float
    grain: float
    grain_row: int
    grain_column: int
    cords: bool
    jpeg: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object; `from_json` restores the spec exactly."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Rebuild a spec bit for bit from what `to_json` gave; other fields are ignored.

        Raises:
            InputError: a field is missing, of the wrong type, or names something unknown.
        """
        if not isinstance(record, dict):
            raise InputError(f"the mask record is {type(record).__name__}, expected an object.")
        values = {}
        for item in dataclasses.fields(cls):
            if item.name in record:
                values[item.name] = _typed(item.name, item.type, record[item.name])
            elif item.default is dataclasses.MISSING:
                raise InputError(
                    f"the mask record has no {item.name!r}: it was not written by synth-mask, or "
                    "by another version; draw the mask again from its seed."
                )
        spec = cls(**values)
        if spec.kind != BARE:
            _known("kind", spec.kind, KINDS)
            _known("texture", spec.texture, KINDS[spec.kind].textures)
        _known("coverage", spec.coverage, COVERAGES)
        return spec


def _typed(name: str, kind: Any, value: Any) -> Any:
    if kind is Color:
        if isinstance(value, list | tuple) and len(value) == 3:
            return tuple(_typed(name, float, channel) for channel in value)
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
            return float(value)
    elif type(value) is kind:
        return value
    raise InputError(f"the mask record's {name!r} cannot be {json.dumps(value)[:60]}.")


def _known(name: str, value: str, table: Any) -> None:
    if value not in table:
        raise InputError(
            f"the mask record's {name} {value!r} is unknown. Known: {', '.join(sorted(table))}."
        )


_DRAWS = 96


def sample_spec(seed: int, key: str, options: MaskOptions) -> MaskSpec:
    """Draw the mask of one face.

    Args:
        seed: The run's seed, any integer.
        key: Name of the face, unique in the run, such as its manifest path.
        options: What may be drawn.

    Returns:
        The spec; the same for the same arguments, on every machine.
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
