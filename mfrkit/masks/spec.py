"""One face's mask as plain numbers: everything drawn at random, and nothing else.

Sampling a spec and drawing it are separate, so that a manifest holds the spec and re-renders the
same picture.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Self

from mfrkit.errors import InputError
from mfrkit.masks.catalog import BARE, COVERAGES, Color
from mfrkit.masks.kinds import KINDS


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
        """Rebuild a spec from a manifest's mask block.

        Args:
            record: The object that `to_json` gave; other fields are ignored.

        Returns:
            The same spec, every number bit for bit.

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
    """Return a JSON value as its field's type, or say which field is wrong."""
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
    """Raise unless a name read from a record is in its table."""
    if value not in table:
        raise InputError(
            f"the mask record's {name} {value!r} is unknown. Known: {', '.join(sorted(table))}."
        )
