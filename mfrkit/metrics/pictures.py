"""How close completed pictures and predicted regions are to the true ones.

Pictures are (B, 3, H, W) float in [0, 1]; holes (B, 1, H, W), the weight of each pixel in [0, 1].
"""

import numpy as np
import torch
from kornia.metrics import ssim as ssim_map
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import ShapeError

_WINDOW = 11  # of SSIM, as its authors have it


def psnr_inside(made: Tensor, true: Tensor, hole: Tensor) -> Tensor:
    """Return (B,) peak signal-to-noise ratios over the pixels of each hole, dB; higher is closer.

    It is 100 where nothing differs.
    """
    error = _mean((made - true).square().mean(1, keepdim=True), hole)
    return -10 * error.clamp_min(1e-10).log10()


def ssim_inside(made: Tensor, true: Tensor, hole: Tensor) -> Tensor:
    """Return (B,) structural similarities over the pixels of each hole; 1 where nothing differs.

    Paper:
        Wang et al., "Image Quality Assessment", IEEE TIP 13(4), 2004, with its Gaussian window of
        11 pixels; the windows of pixels near the border look beyond the hole.
    """
    return _mean(ssim_map(made, true, _WINDOW).mean(1, keepdim=True), hole)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of each picture's values, (B,)."""
    total = weight.flatten(1).sum(1).clamp_min(1e-6)
    return torch.linalg.vecdot(values.flatten(1), weight.flatten(1)) / total


def intersection_over_union(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the overlap of (B, H, W) regions, face by face.

    Returns:
        (B,) float64 in [0, 1]: pixels in both over pixels in either; 1 where both are empty.

    Raises:
        ShapeError: the two differ in shape.
    """
    if predicted.shape != true.shape or predicted.ndim != 3:
        raise ShapeError(f"regions must be (B, H, W), got {predicted.shape} and {true.shape}")
    shared = (predicted & true).sum((1, 2))
    either = (predicted | true).sum((1, 2))
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))
