"""How close completed pictures and predicted regions are to the true ones."""

import numpy as np
import torch
from kornia.metrics import ssim as ssim_map
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import ShapeError

_WINDOW = 11  # of SSIM, as its authors have it


def psnr_inside(made: Tensor, true: Tensor, hole: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio over the pixels of each hole, dB; higher is closer.

    Args:
        made: (B, 3, H, W) float in [0, 1].
        true: (B, 3, H, W) float in [0, 1].
        hole: (B, 1, H, W) in [0, 1], the weight of each pixel.

    Returns:
        (B,) float, 100 where nothing differs.

    Example:
        >>> made, true = torch.full((1, 3, 1, 2), 0.1), torch.zeros(1, 3, 1, 2)
        >>> round(float(psnr_inside(made, true, torch.tensor([[[[1.0, 0.0]]]]))), 3)
        20.0
    """
    error = _mean((made - true).square().mean(1, keepdim=True), hole)
    return -10 * error.clamp_min(1e-10).log10()


def ssim_inside(made: Tensor, true: Tensor, hole: Tensor) -> Tensor:
    """Return the structural similarity over the pixels of each hole; 1 where nothing differs.

    Paper:
        Wang et al., "Image Quality Assessment", IEEE TIP 13(4), 2004, with its Gaussian window of
        11 pixels; the windows of pixels near the border look beyond the hole.

    Args:
        made: (B, 3, H, W) float in [0, 1].
        true: (B, 3, H, W) float in [0, 1].
        hole: (B, 1, H, W) in [0, 1], the weight of each pixel.

    Returns:
        (B,) float, at most 1.
    """
    return _mean(ssim_map(made, true, _WINDOW).mean(1, keepdim=True), hole)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of each picture's values, (B,)."""
    total = weight.flatten(1).sum(1).clamp_min(1e-6)
    return torch.linalg.vecdot(values.flatten(1), weight.flatten(1)) / total


def intersection_over_union(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the overlap of regions, face by face.

    Args:
        predicted: (B, H, W) bool.
        true: (B, H, W) bool.

    Returns:
        (B,) float64 in [0, 1]: pixels in both over pixels in either; 1 where both are empty.

    Raises:
        ShapeError: the two differ in shape.

    Example:
        >>> one = np.array([[[True, True, False, False]]])
        >>> intersection_over_union(one, np.array([[[False, True, True, False]]])).tolist()
        [0.3333333333333333]
    """
    if predicted.shape != true.shape or predicted.ndim != 3:
        raise ShapeError(f"regions must be (B, H, W), got {predicted.shape} and {true.shape}")
    shared = (predicted & true).sum((1, 2))
    either = (predicted | true).sum((1, 2))
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))
