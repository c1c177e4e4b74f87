"""How close completed pictures are to the true ones, where they were completed."""

import torch
from kornia.metrics import ssim as ssim_map
from torch import Tensor

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
