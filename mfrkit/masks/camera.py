"""What camera and light took a face: colours, noise, sharpness, shading, and JPEG grain.

Only small blocks of pixels are read, at fixed places of the mean face, so the cost does not
depend on the picture's size. Their brightness gives the exposure and, as a low-order surface over
the face, the direction the light comes from; their colour gives the cast. The picture's own
contrast is followed, not its features: lips and beards must not print through the cloth.

JPEG keeps each 8x8 block's cosine coefficients as multiples of steps, which leaves blocks flat
where skin was smooth and rings them where it was not. A mask without that looks pasted on. The
steps are told from the photo: the coefficients of a compressed picture still lie on their
lattice. Only luminance is treated, and only the tables of the common JPEG library are known:
photos that were resized since, or compressed by other tables, count as clean.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.head import half_width, sheet_to_pixels
from mfrkit.masks.pose import Array, Pose

BLOCK = 8
# ITU-T T.81 (1992), table K.1: the steps of luminance at quality 50.
_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56], [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)  # fmt: skip
_QUALITIES = np.arange(10, 91)  # above, the grain cannot be seen
_COSINES = np.cos(np.outer(np.arange(BLOCK), 2 * np.arange(BLOCK) + 1) * np.pi / (2 * BLOCK)) / 2
_COSINES[0] /= np.sqrt(2)
# Rounded to 2 ** -11, and what they multiply to eighths, every sum below is exact in float32:
# neither the order of adding nor the number of blocks can change a bit.
_COSINES = (np.round(_COSINES * 2048) / 2048).astype(np.float32)
_LOW = ([0, 0, 0, 1, 1, 1, 2, 2, 3], [1, 2, 3, 0, 1, 2, 0, 1, 0])  # they tell the steps
_OFF = 1.2  # how far rounding the pixels moves a coefficient off its lattice, at most
_CONTRADICTION = 2.0  # a coefficient off the lattice weighs as much as e^2 to 1 against it
_LEAST_EVIDENCE = 10.0
_ZERO, _LEAST_ZEROS = 0.5, 0.6


def steps(quality: int) -> NDArray[np.int64]:
    """Return the (8, 8) steps of luminance of a quality from 1 to 100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_STEPS * scale + 50) // 100, 1, 255)


_LOW_STEPS = np.stack([steps(quality)[_LOW] for quality in _QUALITIES.tolist()])  # (Q, K)
_SURPRISE = np.log(np.maximum(_LOW_STEPS / (2 * _OFF), 1))  # of lying on the lattice by chance


def read_quality(luma: Array) -> NDArray[np.int64]:
    """Return (B,) qualities, 10 to 90 or 0 for clean, of (B, N, 8, 8) whole blocks in [0, 1]."""
    pixels = np.floor(luma * 255 + 0.5) - 128
    found = _COSINES @ pixels @ _COSINES.T
    quality = np.zeros(len(luma), np.int64)
    # Compression leaves few of the highest coefficients; a look at them clears most pictures.
    zeros = (np.abs(found[..., 4:, 4:]) < _ZERO).mean(axis=(1, 2, 3))
    for face in np.flatnonzero(zeros > _LEAST_ZEROS):
        evidence = _evidence(np.abs(found[face][:, _LOW[0], _LOW[1]]))
        best = int(evidence.argmax())
        if evidence[best] > _LEAST_EVIDENCE:
            quality[face] = _QUALITIES[best]
    return quality


def _evidence(size: Array) -> Array:
    """Return how much coefficients (N, K) speak for each quality, (Q,), logarithm of the odds."""
    block, place = np.nonzero(size > _OFF)  # one that was rounded to zero says nothing
    step, size = _LOW_STEPS[:, place], size[block, place]
    number = np.floor(size / step + 0.5)
    on = (np.abs(size - number * step) <= _OFF) & (number > 0)
    return np.where(on, _SURPRISE[:, place], -_CONTRADICTION).sum(axis=1)


def add_grain(planes: Tensor, alpha: Tensor, qualities: NDArray[np.int64]) -> None:
    """Compress what masks cover as the rest of their pictures was, in place.

    Args:
        planes: (B, 3, H, W) float32 RGB in [0, 1], masks and faces together, from a corner of the
            pictures' 8x8 grid to another or to the pictures' end.
        alpha: (B, H, W) in [0, 1], how much of each pixel is covered.
        qualities: (B,) of the pictures, 1 to 100; 0 leaves a face as it is.
    """
    coarse = np.flatnonzero(qualities)
    on = torch.from_numpy(coarse).to(planes.device)
    table = np.stack([steps(quality) for quality in qualities[coarse].tolist()])
    height, width = alpha.shape[1:]
    red, green, blue = planes.detach().unbind(dim=1)
    luma = (red * (0.299 * 255)).add_(green * (0.587 * 255)).add_(blue * (0.114 * 255))
    luma = luma.sub_(127.5).floor_().clamp_(-128, 127)[on]
    beyond = (0, -width % BLOCK, 0, -height % BLOCK)
    if any(beyond):  # an encoder repeats the picture's border to fill its last blocks
        luma = F.pad(luma[:, None], beyond, mode="replicate")[:, 0]
    with torch.autocast(luma.device.type, enabled=False):  # half precision would not be exact
        lost = _rounding(luma, torch.from_numpy(table).to(luma))
    change = torch.zeros_like(alpha)
    change[on] = lost[:, :height, :width].mul_(alpha[on]).mul_(1 / 255)
    planes += change[:, None]


def _rounding(luma: Tensor, step: Tensor) -> Tensor:
    """Return what rounding coefficients of (B, H, W) to multiples of `step` (B, 8, 8) adds."""
    cosines = torch.from_numpy(_COSINES).to(luma)
    number, height, width = luma.shape
    down, across = height // BLOCK, width // BLOCK
    half = torch.matmul(cosines * 8, luma.view(-1, BLOCK, width)).add_(0.5).floor_()  # in eighths
    # A product with few rows is several times as fast as one with few columns: the coefficients
    # across become the first dimension.
    found = torch.mm(cosines / 8, half.view(-1, BLOCK).T).view(BLOCK, number, down, BLOCK, across)
    step = step.permute(2, 0, 1)[:, :, None, :, None].expand_as(found).contiguous()
    off = found.div_(step).add_(0.5)
    off.sub_(off.floor()).sub_(0.5)  # in [-0.5, 0.5)
    # Half-way between two multiples the rounding is bent to be continuous: a pixel that differs by
    # little, as between devices, must not tip a block.
    most = off.abs().mul_(-4).add_(2)
    off = torch.maximum(torch.minimum(off, most), most.neg_())
    lost = off.mul_(step).mul_(-8).add_(0.5).floor_()
    half = torch.mm(cosines.T, lost.view(BLOCK, -1)).add_(0.5).floor_()
    added = torch.matmul(cosines.T / 8, half.view(-1, BLOCK, across)).view_as(found)
    return added.permute(1, 2, 3, 4, 0).reshape(luma.shape)


Pictures = Tensor | NDArray[np.uint8]

# x, y (face units) and weight of the skin patches: forehead, cheeks, nose, beside the mouth, chin.
PATCHES = np.array(
    [
        [0.0, -0.45, 0.7], [-0.4, -0.45, 0.5], [0.4, -0.45, 0.5],
        [-0.55, 0.38, 1.0], [0.55, 0.38, 1.0], [-0.72, 0.55, 1.0], [0.72, 0.55, 1.0],
        [-0.45, 0.6, 1.0], [0.45, 0.6, 1.0], [0.0, 0.25, 1.0], [0.0, 0.5, 0.7],
        [-0.66, 0.95, 0.7], [0.66, 0.95, 0.7], [-0.2, 1.5, 0.3], [0.2, 1.5, 0.3],
    ]
)  # fmt: skip
LUMA = np.array([0.299, 0.587, 0.114])
_PATCH_SIDE = 0.14  # face units that a skin patch is averaged over
_GRID, _EYE_GRID = 5, 11  # pixels along the side of a block
_EYES = np.array([[-0.5, 0.0], [0.5, 0.0]])
# Where blocks tell the compression: brows and eyes, which have detail and are never covered.
_BLOCKS = np.array([[x, y] for y in (-0.3, 0.0) for x in (-0.66, -0.3, 0.3, 0.66)])
# Immerkaer, CVIU 64(2), 1996: second differences both ways cancel everything but noise from smooth
# pictures. Wrinkles, beards and pores are not smooth, so a quiet patch speaks for all; this is what
# the fourth quietest of them answers to the renderer's own grain of unit deviation.
_QUIET, _NOISE_ANSWER = 3, 2.57
_SHARP_EDGE = 1.9  # contrast of an eye over its steepest pixel in a sharp photo
_SOFTEST = 2.6


@dataclass(frozen=True)
class Camera:
    """What was read off B faces.

    Attributes:
        patches: (B, P, 3) float64 RGB of the skin at `PATCHES`.
        noise: (B,) float64 standard deviation of the grain, pixel values in [0, 1].
        blur: (B,) float64 width of a sharp edge in pixels, 1 to 2.6.
        quality: (B,) int64 quality at which it was compressed as JPEG, 0 if it was not.
    """

    patches: Array
    noise: Array
    blur: Array
    quality: NDArray[np.int64]


def read_camera(pictures: Pictures, chosen: list[int], pose: Pose) -> Camera:
    """Read colours, noise, sharpness and compression off faces.

    Args:
        pictures: N pictures: (N, 3, H, W) float32 RGB in [0, 1], or (N, H, W, 3) uint8.
        chosen: Which B of them to read.
        pose: B placements.

    Returns:
        The readings, the same of a picture in either form; a place outside the picture repeats
        its border.
    """
    skin = _places(pose, PATCHES[:, :2])
    spacing = np.maximum(1, np.floor(_PATCH_SIDE * pose.scale / _GRID))
    near, size = np.ones_like(spacing), picture_size(pictures)
    blocks = [
        _squares(skin, _GRID, spacing, size),
        _squares(skin, _GRID, near, size),
        _squares(_places(pose, _EYES), _EYE_GRID, near, size),
        _squares(_grid_blocks(_places(pose, _BLOCKS)), BLOCK, near, size),
    ]
    counts = [block.shape[1] for block in blocks]
    color, fine, eyes, whole = np.split(
        _gather(pictures, chosen, np.concatenate(blocks, axis=1)), np.cumsum(counts)[:-1], axis=1
    )
    number = len(chosen)
    patches = color.reshape(number, len(PATCHES), _GRID**2, 3).mean(axis=2)
    grain = luma_of(fine).reshape(number, len(PATCHES), _GRID, _GRID)
    detail = luma_of(eyes).reshape(number, len(_EYES), _EYE_GRID, _EYE_GRID)
    squares = luma_of(whole).reshape(number, len(_BLOCKS), BLOCK, BLOCK)
    return Camera(patches, _noise(grain), _blur(detail), read_quality(squares))


def _places(pose: Pose, places: Array) -> Array:
    """Return the pixels (B, N, 2) of frontal face places (N, 2)."""
    x, y = places[:, 0], places[:, 1]
    return sheet_to_pixels(pose, y, np.arcsin(np.clip(x / half_width(y), -1, 1)))


def _grid_blocks(places: Array) -> Array:
    """Return the middles (B, N, 2) of the blocks of the JPEG grid that places lie in."""
    return np.floor(places / BLOCK) * BLOCK + BLOCK // 2


def _squares(centers: Array, side: int, spacing: Array, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the pixels (B, N * side * side) in squares round the centres (B, N, 2).

    They are numbered along the rows of a picture (H, W), whose border goes on beyond it.
    """
    reach = np.arange(side) - side // 2
    axes = np.floor(centers + 0.5)[..., None] + reach * spacing[:, None, None, None]
    x, y = (np.clip(axes[:, :, i], 0, size[1 - i] - 1).astype(np.int64) for i in (0, 1))
    return (y[..., :, None] * size[1] + x[..., None, :]).reshape(len(centers), -1)


def _gather(pictures: Pictures, chosen: list[int], pixels: NDArray[np.int64]) -> Array:
    """Read pictures at numbered pixels (B, N): (B, N, 3) float64 in [0, 1]."""
    if not isinstance(pictures, Tensor):
        height, width = picture_size(pictures)
        read = pictures.reshape(-1, 3).take(
            np.array(chosen)[:, None] * (height * width) + pixels, axis=0
        )
        return (read.astype(np.float32) / np.float32(255)).astype(np.float64)
    face = torch.tensor(chosen, device=pictures.device)[:, None]
    index = torch.from_numpy(pixels).to(pictures.device)
    found = pictures.detach().flatten(2)[face, :, index]
    return np.asarray(found.cpu().numpy(), dtype=np.float64)


def picture_size(pictures: Pictures) -> tuple[int, int]:
    """Return height and width of pictures in either form."""
    height, width = pictures.shape[2:] if isinstance(pictures, Tensor) else pictures.shape[1:3]
    return height, width


def luma_of(colors: Array) -> Array:
    """Return the luminance of RGB (..., 3)."""
    return colors[..., 0] * LUMA[0] + colors[..., 1] * LUMA[1] + colors[..., 2] * LUMA[2]


def _noise(luma: Array) -> Array:
    """Return the noise that a quiet one of each face's blocks (B, P, side, side) shows."""
    answer = np.abs(np.diff(np.diff(luma, 2, axis=-1), 2, axis=-2)).mean(axis=(2, 3))
    return np.partition(answer, _QUIET, axis=1)[:, _QUIET] / _NOISE_ANSWER


def _blur(luma: Array) -> Array:
    """Return how many pixels an edge takes in blocks (B, N, side, side) round the eyes."""
    right = np.abs(np.diff(luma, axis=-1)).max(axis=(2, 3))
    down = np.abs(np.diff(luma, axis=-2)).max(axis=(2, 3))
    contrast = luma.max(axis=(2, 3)) - luma.min(axis=(2, 3))
    width = contrast / np.maximum(np.maximum(right, down), 0.01)
    width = np.where(contrast < 0.12, _SHARP_EDGE, width)  # too dark or too plain to tell
    return np.asarray(np.clip(width.mean(axis=1) / _SHARP_EDGE, 1.0, _SOFTEST))


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
