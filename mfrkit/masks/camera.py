"""What camera took a face: its colours at places of skin, noise, sharpness, compression.

Only small blocks of pixels are read, at fixed places of the mean face, so the cost does not depend
on the picture's size.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.jpeg import BLOCK, read_quality
from mfrkit.masks.pose import Array, Pose
from mfrkit.masks.surface import half_width, sheet_to_pixels

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
