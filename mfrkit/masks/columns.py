"""Specs and shapes as columns: one small float64 table a batch, turned to float32 once."""

from collections.abc import Sequence

import numpy as np

from mfrkit.masks.camera import Camera
from mfrkit.masks.catalog import COVERAGES, Kind, Shape
from mfrkit.masks.kinds import KINDS
from mfrkit.masks.light import LIGHT_HEIGHT, light_columns, skin_color, under_light
from mfrkit.masks.outline import JAW_SCALE
from mfrkit.masks.pose import Array, Pose
from mfrkit.masks.spec import MaskSpec
from mfrkit.masks.surface import pose_columns

_UNDER_CHIN = 0.4  # darkening where the mask turns in under the chin
# What a flat drawing has in place of light, relief, shadow and camera.
_UNLIT = {
    "gain": 1.0, "gain_x": 0.0, "gain_y": 0.0, "gain_xx": 0.0, "vivid": 1.0, "cast_r": 1.0,
    "cast_g": 1.0, "cast_b": 1.0, "exposure": 1.0, "round": 0.0, "shadow": 0.0, "soft": 0.0,
    "grain": 0.0, "under": 0.0, "relief": 0.0, "blur": 1.0,
}  # fmt: skip
_SHADED = {"round": 0.0, "under": 0.0, "relief": 0.0, "crease": 0.0}
_GRAINS = (0.0015, 0.04)  # least and most grain, pixel values in [0, 1]
_CORD_END = 1.14  # half width at which cords leave the face, just inside the silhouette


def mask_columns(specs: Sequence[MaskSpec], pose: Pose, camera: Camera) -> dict[str, Array]:
    """Lay out all that drawing reads, one row a face.

    Args:
        specs: B masks, none of them "none".
        pose: Where the B faces are.
        camera: What was read off their pictures.

    Returns:
        (B,) float64 columns.
    """
    light = light_columns(camera.patches, np.array([spec.light for spec in specs]))
    look = _look_columns(specs, pose)
    look["grain"] = np.clip(camera.noise * look["grain"], *_GRAINS)
    look["blur"] = camera.blur
    flat = np.array([KINDS[spec.kind].flat for spec in specs])
    for name, value in _UNLIT.items():
        table = light if name in light else look
        table[name] = np.where(flat, value, table[name])
    skin = np.array([[KINDS[spec.kind].skin] for spec in specs])
    for part in ("color", "accent"):
        names = [f"{part}_{channel}" for channel in "rgb"]
        cloth = under_light(np.stack([look[name] for name in names], axis=1), light)
        look |= dict(
            zip(names, np.where(skin, skin_color(camera.patches, light), cloth).T, strict=True)
        )
    gains = {name: light[name] * look["exposure"] for name in light if name.startswith("gain")}
    gains["gain"] = gains["gain"] - LIGHT_HEIGHT * gains["gain_y"]  # from there to the eyes
    place = pose_columns(pose)
    place["pixel"] = place["unit"] * look["blur"]
    sharp = {"sharp": 2 / (look["soft"] / place["unit"] + look["blur"])}  # per pair of pixels
    steep = look["relief"] / (2 * place["unit"])
    slopes = {"steep_x": -steep * light["light_x"], "steep_y": -steep * light["light_y"]}
    return look | light | gains | place | sharp | slopes


def _look_columns(specs: Sequence[MaskSpec], pose: Pose) -> dict[str, Array]:
    """Return the columns outlines and painters read: the kind's shape as worn, and its finish."""
    heads = zip(specs, pose.girth.tolist(), pose.chin.tolist(), strict=True)
    rows = [_row(spec, girth, chin) for spec, girth, chin in heads]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def shape_columns(
    shape: Shape, lower: float, flatter: float, girth: float, chin: float
) -> dict[str, float]:
    """Return the numbers that `shapes` reads.

    Args:
        shape: The outline worn straight.
        lower: How far to lower its upper edge.
        flatter: Factor on that edge's slope.
        girth: Factor on its width, the wearer's against the mean head's.
        chin: How far to lower its lower edge.

    Returns:
        Column name to number.
    """
    fall = shape.fall * flatter
    return {
        "top": shape.top + lower - shape.peak * fall,
        "peak_square": shape.peak**2,
        "fall": fall,
        "side": shape.side * girth + shape.taper,
        "taper": shape.taper,
        "bottom": JAW_SCALE * (shape.bottom + chin + shape.chin * shape.jaw),
        "chin_square": shape.chin**2,
        "jaw": JAW_SCALE * shape.jaw,
        "level": shape.top + lower,
        "end": shape.bottom + chin,
        "half": shape.side * girth,
        "knee": shape.knee,
        "inner": shape.inner,
    }


def _row(spec: MaskSpec, girth: float, chin: float) -> dict[str, float]:
    kind = KINDS[spec.kind]
    shape = kind.shape
    lower_edge, slide = (0.0, 0.0) if kind.flat else COVERAGES[spec.coverage]
    # The frame slides with the mask; what the upper edge moves beyond that, it moves on the mask.
    lower, flatter = lower_edge - slide + spec.lift, 1 - 0.8 * min(1.0, lower_edge)
    row = shape_columns(shape, lower, flatter, girth, chin)
    tilt_cos, tilt_sin = np.cos(spec.tilt), np.sin(spec.tilt)
    center = 1.0 + slide + spec.shift_y
    row |= {
        "worn_xx": tilt_cos / spec.width,
        "worn_xy": tilt_sin / spec.width,
        "worn_x": -(tilt_cos * spec.shift_x + tilt_sin * center) / spec.width,
        "worn_yx": -tilt_sin / spec.height,
        "worn_yy": tilt_cos / spec.height,
        "worn_y": 1 + (tilt_sin * spec.shift_x - tilt_cos * center) / spec.height,
        "slack": spec.slack,
        "pleats": float(spec.pleats),
        "pleat_depth": spec.pleat_depth if spec.pleats else 0.0,
        "bulge": kind.bulge,
        "ridge": kind.ridge,
        "crease": spec.crease,
        "crease_u": spec.crease_u,
        "crease_v": spec.crease_v,
        "texture_scale": spec.texture_scale,
        "turn_cos": np.cos(spec.texture_turn),
        "turn_sin": np.sin(spec.texture_turn),
        "texture_u": spec.texture_u,
        "texture_v": spec.texture_v,
        "seam": float(spec.crease_u < 0.5),
        "exposure": spec.exposure,
        "round": spec.round,
        "shadow": spec.shadow,
        "soft": spec.soft,
        "grain": 1.0 + spec.grain / 0.02,
        "under": _UNDER_CHIN,
        "relief": 1.0,
        "cord": kind.cord if spec.cords and kind.cord else -1.0,
        "cord_white": kind.cord_white,
        "broad": girth,
    }
    if kind.shaded:
        row |= _SHADED
    for name, (start, end) in zip(("upper", "lower"), kind.anchors, strict=True):
        row |= _cord(name, kind, start + lower_edge * 0.4, end, girth)
    for name, color in (("color", spec.color), ("accent", spec.accent)):
        row |= {f"{name}_{channel}": value for channel, value in zip("rgb", color, strict=True)}
    return row


def _cord(name: str, kind: Kind, start: float, end: float, girth: float) -> dict[str, float]:
    """Return the columns of one cord from the mask's side (height `start`) to the head's."""
    x = kind.shape.side * girth - (start - 1) * kind.shape.taper - 0.16
    dx, dy = _CORD_END * girth - x, end - start
    a, b = dy / np.hypot(dx, dy), -dx / np.hypot(dx, dy)
    return {
        f"{name}_x": x + kind.cord,
        f"{name}_a": a,
        f"{name}_b": b,
        f"{name}_c": a * x + b * start,
    }
