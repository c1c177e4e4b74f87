"""What camera took a face: its colours at places of skin, its noise, its sharpness.

Only small blocks of pixels are read, at fixed places of the mean face, so the cost does not depend
on the picture's size.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
# Immerkaer, CVIU 64(2), 1996: this kernel cancels everything but noise from smooth pictures; the
# factor is its mean absolute answer to the renderer's own grain of unit deviation.
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
_NOISE_ANSWER = 3.66
_SHARP_EDGE = 1.9  # contrast of an eye over its steepest pixel in a sharp photo
_SOFTEST = 2.6


@dataclass(frozen=True)
class Camera:
    """What was read off B faces.

    Attributes:
        patches: (B, P, 3) float64 RGB of the skin at `PATCHES`.
        noise: (B,) float64 standard deviation of the grain, pixel values in [0, 1].
        blur: (B,) float64 width of a sharp edge in pixels, 1 to 2.6.
    """

    patches: Array
    noise: Array
    blur: Array


def read_camera(pictures: Pictures, chosen: list[int], pose: Pose) -> Camera:
    """Read colours, noise and sharpness off faces.

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
    step = np.stack([spacing, np.ones_like(spacing)], axis=1)  # for colour, for noise
    blocks = [
        _blocks(skin, _GRID, step[:, 0]),
        _blocks(skin, _GRID, step[:, 1]),
        _blocks(_places(pose, _EYES), _EYE_GRID, step[:, 1]),
    ]
    counts = [block.shape[1] for block in blocks]
    color, fine, eyes = np.split(
        _gather(pictures, chosen, np.concatenate(blocks, axis=1)), np.cumsum(counts)[:-1], axis=1
    )
    number = len(chosen)
    patches = color.reshape(number, len(PATCHES), _GRID**2, 3).mean(axis=2)
    grain = (fine * LUMA).sum(-1).reshape(number, len(PATCHES), _GRID, _GRID)
    detail = (eyes * LUMA).sum(-1).reshape(number, len(_EYES), _EYE_GRID, _EYE_GRID)
    return Camera(patches, _noise(grain), _blur(detail))


def _places(pose: Pose, places: Array) -> Array:
    """Return the pixels (B, N, 2) of frontal face places (N, 2)."""
    x, y = places[:, 0], places[:, 1]
    return sheet_to_pixels(pose, y, np.arcsin(np.clip(x / half_width(y), -1, 1)))


def _blocks(centers: Array, side: int, spacing: Array) -> Array:
    """Return whole pixels (B, N * side * side, 2) in squares round the centres (B, N, 2)."""
    reach = np.arange(side) - side // 2
    offsets = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(1, 1, -1, 2)
    squares = np.floor(centers + 0.5)[:, :, None] + offsets * spacing[:, None, None, None]
    return squares.reshape(len(centers), -1, 2)


def _gather(pictures: Pictures, chosen: list[int], pixels: Array) -> Array:
    """Read pictures at whole pixels (B, N, 2): (B, N, 3) float64 in [0, 1]."""
    height, width = picture_size(pictures)
    places = np.clip(pixels, 0, [width - 1, height - 1]).astype(np.int64)
    if not isinstance(pictures, Tensor):
        flat = (np.array(chosen)[:, None] * height + places[..., 1]) * width + places[..., 0]
        read = pictures.reshape(-1, 3).take(flat, axis=0)
        return (read.astype(np.float32) / np.float32(255)).astype(np.float64)
    index = torch.from_numpy(places).to(pictures.device)
    face = torch.tensor(chosen, device=pictures.device)[:, None]
    found = pictures.detach()[face, :, index[..., 1], index[..., 0]]
    return np.asarray(found.cpu().numpy(), dtype=np.float64)


def picture_size(pictures: Pictures) -> tuple[int, int]:
    """Return height and width of pictures in either form."""
    height, width = pictures.shape[2:] if isinstance(pictures, Tensor) else pictures.shape[1:3]
    return height, width


def _noise(luma: Array) -> Array:
    """Return the noise of smooth blocks (B, P, side, side): the median over the blocks."""
    side = luma.shape[-1] - 2
    answer = sum(
        _NOISE_KERNEL[i, j] * luma[..., i : i + side, j : j + side]
        for i in range(3)
        for j in range(3)
    )
    return np.asarray(np.median(np.abs(answer).mean(axis=(2, 3)), axis=1) / _NOISE_ANSWER)


def _blur(luma: Array) -> Array:
    """Return how many pixels an edge takes in blocks (B, N, side, side) round the eyes."""
    right = np.abs(np.diff(luma, axis=-1)).max(axis=(2, 3))
    down = np.abs(np.diff(luma, axis=-2)).max(axis=(2, 3))
    contrast = luma.max(axis=(2, 3)) - luma.min(axis=(2, 3))
    width = contrast / np.maximum(np.maximum(right, down), 0.01)
    width = np.where(contrast < 0.12, _SHARP_EDGE, width)  # too dark or too plain to tell
    return np.asarray(np.clip(width.mean(axis=1) / _SHARP_EDGE, 1.0, _SOFTEST))
