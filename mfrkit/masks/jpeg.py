"""JPEG grain: how coarsely a photo was compressed, and the same for what is drawn on it.

JPEG keeps each 8x8 block's cosine coefficients as multiples of steps, which leaves blocks flat
where skin was smooth and rings them where it was not. A mask without that looks pasted on. The
steps are told from the photo: the coefficients of a compressed picture still lie on their lattice.

Only luminance is treated, and only the tables of the common JPEG library are known: photos that
were resized since, or compressed by other tables, count as clean.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.pose import Array

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
    """Return the (8, 8) steps of luminance of a quality from 1 to 100.

    Example:
        >>> steps(75)[0, :4].tolist()
        [8, 6, 5, 8]
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_STEPS * scale + 50) // 100, 1, 255)


_LOW_STEPS = np.stack([steps(quality)[_LOW] for quality in _QUALITIES.tolist()])  # (Q, K)
_SURPRISE = np.log(np.maximum(_LOW_STEPS / (2 * _OFF), 1))  # of lying on the lattice by chance


def read_quality(luma: Array) -> NDArray[np.int64]:
    """Tell at which quality pictures were compressed.

    Args:
        luma: (B, N, 8, 8) luminance of whole blocks of the pictures' grid, in [0, 1].

    Returns:
        (B,) from 10 to 90; 0 for a clean picture.
    """
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
