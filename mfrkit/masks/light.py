"""The light a mask is under, read off the face that wears it.

Skin patches at fixed places of the mean face are averaged; their brightness gives the exposure and,
as a low-order surface over the face, the direction the light comes from; their colour gives the
cast. The picture's own contrast is followed, not its features: lips and beards must not print
through the cloth.
"""

import numpy as np

from mfrkit.masks.camera import LUMA, PATCHES, luma_of
from mfrkit.masks.pose import Array

# Colour of skin under white light, over its luminance; what is left is taken for the light's cast.
_SKIN = np.array([1.24, 0.94, 0.80])
_MIDDLE_SKIN = 0.52  # luminance of a well exposed face
LIGHT_HEIGHT = 0.8  # where on the face the light's change downwards is counted from, face units


def light_columns(patches: Array, follow: Array) -> dict[str, Array]:
    """Turn patch colours into the columns that light a mask.

    Args:
        patches: (B, P, 3) RGB.
        follow: (B,) how far the light is followed, [0, 1].

    Returns:
        (B,) columns: `gain` and its change `gain_x`, `gain_y`, `gain_xx` over the face;
        `light_x`, `light_y`, direction for relief; `vivid`, share of colour kept (0 for a grey
        picture); `cast_r`, `cast_g`, `cast_b`, factors on the channels.
    """
    weights = PATCHES[:, 2]
    luma = np.maximum(luma_of(patches), 0.01)
    mean = (luma * weights).sum(1) / weights.sum()
    surface = _surface_fit(luma / mean[:, None], weights) * follow[:, None]
    # Dark skin is not dim light: only half of the departure (in stops) is put down to exposure.
    exposure = np.clip(np.sqrt(mean / _MIDDLE_SKIN), 0.45, 1.2)

    color = (patches * weights[:, None]).sum(1) / weights.sum()
    peak = np.maximum(color.max(1), 0.01)
    vivid = np.clip(((peak - color.min(1)) / peak - 0.02) / 0.08, 0, 1)
    cast = color / np.maximum((color * LUMA).sum(1, keepdims=True), 0.01) / _SKIN
    cast = np.clip(1 + 0.35 * (follow * vivid)[:, None] * (cast - 1), 0.8, 1.2)
    return {
        "gain": exposure * (1 + surface[:, 0]),
        "gain_x": exposure * surface[:, 1],
        "gain_y": exposure * surface[:, 2],
        "gain_xx": exposure * surface[:, 3],
        "light_x": np.clip(surface[:, 1] * 1.5, -0.6, 0.6),
        "light_y": np.clip(surface[:, 2] - 0.55, -0.9, -0.2),
        "vivid": vivid,
        "cast_r": cast[:, 0],
        "cast_g": cast[:, 1],
        "cast_b": cast[:, 2],
    }


def under_light(colors: Array, light: dict[str, Array]) -> Array:
    """Return cloth colours (B, 3) as the light's cast and the picture's colourfulness show them."""
    cast = np.stack([light["cast_r"], light["cast_g"], light["cast_b"]], axis=1)
    grey = (colors * LUMA).sum(1, keepdims=True)
    return (grey + (colors - grey) * light["vivid"][:, None]) * cast


def skin_color(patches: Array, light: dict[str, Array]) -> Array:
    """Return the colour (B, 3) that the light would turn into that of the face's own skin."""
    weights = PATCHES[:, 2:]
    return (patches * weights).sum(1) / weights.sum() / light["gain"][:, None]


def _surface_fit(relative: Array, weights: Array) -> Array:
    """Fit departures from the mean by [1, x, y - 0.8, x^2], damped, (B, 4) in [-0.5, 0.5]."""
    x, y = PATCHES[:, 0], PATCHES[:, 1] - LIGHT_HEIGHT
    basis = np.stack([np.ones_like(x), x, y, x * x], axis=1)  # (P, 4)
    weighted = basis * weights[:, None]
    solve = np.linalg.solve(weighted.T @ basis + np.diag([0.0, 0.3, 1.5, 1.0]), weighted.T)
    fit = ((relative - 1)[:, None, :] * solve).sum(-1)
    return np.clip(fit, -0.5, 0.5)
