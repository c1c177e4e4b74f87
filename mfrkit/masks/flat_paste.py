"""The mask of the MaskInv training code: one flat picture, pasted on every aligned crop alike.

Paper:
    Huber, Boutros, Kirchbuchner, Damer, "Mask-invariant face recognition through template-level
    knowledge distillation", FG 2021, arXiv:2112.05646, and its published code.

Reproduced with its two quirks, since figures obtained with it depend on them: the five target
points are those of a crop 96 pixels wide, so on one of 112 the mask sits 8 pixels to the left; and
colours below zero wrap round modulo 256. `maskinv-centred` moves the target to the middle.
Differs: the artwork is drawn here, to the size, extent and brightness of the original.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from mfrkit.faces.geometry import similarity_from_points, template
from mfrkit.masks.pose import Array
from mfrkit.masks.spec import MaskSpec

_HEIGHT, _WIDTH = 1085, 1627
_LEFT, _RIGHT, _TOP, _BOTTOM = 244, 1330, 185, 981
# Nose, mouth corners, eyes: on the artwork and, mirrored, in a 96-pixel crop.
_SOURCE = np.array([[678, 464], [548, 614], [991, 664], [1009, 64], [557, 64]], dtype=np.float64)
_TARGET = np.array([[48, 71], [62, 92], [33, 92], [30, 51], [65, 51]], dtype=np.float64)


def draw_artwork() -> Tensor:
    """Draw a nearly white pleated mask, (2, 1085, 1627) in [0, 255]: brightness and opacity."""
    rows, columns = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float32)
    x = (columns - (_LEFT + _RIGHT) / 2) / ((_RIGHT - _LEFT) / 2)
    y = (rows - _TOP) / (_BOTTOM - _TOP)
    top = 0.20 * np.sqrt(x * x + 0.006) - 0.0155
    bottom = 1 - 0.42 * np.clip(np.abs(x) - 0.1, 0, None) ** 1.5
    inside = np.minimum(np.minimum(y - top, bottom - y), (1.0 - np.abs(x)) * 0.7)
    shade = 253 - 10 * x * x - 12 * y
    for fold in (0.34, 0.50, 0.66):
        line = np.abs(y - fold - 0.10 * (1 - x * x))
        shade -= 75 * np.clip(1 - line / 0.012, 0, None) + 22 * np.clip(1 - line / 0.06, 0, None)
    shade -= 200 * np.clip(1 - np.abs(inside - 0.035) / 0.005, 0, None)
    opacity = np.clip(inside * (_BOTTOM - _TOP) + 0.5, 0, 1)
    shade = np.round(np.clip(shade, 59, 255)) * (opacity > 0)
    return torch.from_numpy(np.stack([shade, np.round(opacity * 255)]).astype(np.float32))


def fit_homography(shift: tuple[float, float], centred: bool) -> Array:
    """Fit the least-squares homography (3, 3) from the artwork to the aligned 112-pixel crop.

    It leaves residuals of up to 8 pixels at the nose, as published.

    Args:
        shift: Added to the points on the artwork, its pixels.
        centred: Whether to move the target from where the published code puts it, 8 pixels left
            of the face, to the face.
    """
    target = _TARGET + np.array([8.0 if centred else 0.0, 0.0])
    return np.asarray(cv2.findHomography(_SOURCE + np.array(shift), target)[0], dtype=np.float64)


def paste(
    faces: Tensor, points: Tensor, specs: Sequence[MaskSpec], artwork: Tensor
) -> tuple[Tensor, Tensor]:
    """Paste the artwork on faces: whole 255ths, (B, 3, H, W), and the region (B, H, W) in [0, 1].

    Args:
        faces: (B, 3, H, W) float32 RGB in [0, 1].
        points: (B, 5, 2) where they are; the crop they would be aligned to carries the mask.
        specs: B specs of one of the kinds in `PASTED`; their shift is in artwork pixels.
        artwork: What `draw_artwork` returned, on the faces' device.
    """
    to_crop = similarity_from_points(points.cpu().numpy().astype(np.float64), template())
    maps = []
    for spec, matrix in zip(specs, to_crop, strict=True):
        forward = fit_homography((spec.shift_x, spec.shift_y), spec.kind == "maskinv-centred")
        whole = np.linalg.inv(forward) @ np.concatenate([matrix, [[0, 0, 1]]])
        maps.append(whole / whole[2, 2])
    table = torch.as_tensor(np.stack(maps), dtype=torch.float32).to(faces.device)
    rows = torch.arange(faces.shape[-2], dtype=torch.float32, device=faces.device)[:, None]
    columns = torch.arange(faces.shape[-1], dtype=torch.float32, device=faces.device)
    x, y, scale = (
        columns * table[:, i, 0, None, None]
        + rows * table[:, i, 1, None, None]
        + table[:, i, 2, None, None]
        for i in range(3)
    )
    shade, opacity = _bilinear(artwork, x / scale, y / scale)
    colors = torch.tensor([[c * 255 for c in spec.color] for spec in specs], device=faces.device)
    # The published code takes the artwork for cyan, magenta, yellow and its opacity for black.
    ink = 255 - shade[:, None] - opacity[:, None] + colors[:, :, None, None]
    share = opacity[:, None] / 255
    under = (faces * 255 + 0.5).floor()
    mixed = (share * ink + (1 - share) * under).trunc().remainder(256)
    return torch.where(share > 0, mixed / 255, faces), share[:, 0]


def _bilinear(planes: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Read (P, h, w) planes at (B, H, W) places; beyond their border they are 0."""
    height, width = planes.shape[-2:]
    left, top = x.floor(), y.floor()
    right_share, lower_share = x - left, y - top
    total = [torch.zeros_like(x) for _ in planes]
    for down in (0, 1):
        for across in (0, 1):
            column, row = left + across, top + down
            valid = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (right_share if across else 1 - right_share) * valid
            weight = weight * (lower_share if down else 1 - lower_share)
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            for place, plane in enumerate(planes):
                total[place] = total[place] + weight * plane.reshape(-1)[index]
    return tuple(total)
