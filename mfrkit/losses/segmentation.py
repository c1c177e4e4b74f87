"""How far a predicted region is from the true one."""

import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError


def pixel_loss(logits: Tensor, region: Tensor) -> Tensor:
    """Return the mean cross-entropy of the pixels.

    Args:
        logits: (B, 1, H, W) float.
        region: (B, 1, H, W) float in [0, 1], how much of each pixel is covered.

    Returns:
        Scalar, at least 0.

    Raises:
        ShapeError: the two differ in shape.

    Example:
        >>> import torch
        >>> round(float(pixel_loss(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))), 4)
        0.6931
    """
    _check(logits, region)
    return F.binary_cross_entropy_with_logits(logits, region)


def dice_loss(logits: Tensor, region: Tensor) -> Tensor:
    """Return one minus the soft Dice overlap, averaged over faces.

    It counts a small region as much as a large one, which the mean over pixels does not. A face
    without region costs as much as there is predicted on it.

    Paper:
        Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, arXiv:1606.04797, section 3.
        Differs: one pixel is added to both sides of the fraction, so that an empty region that
        is predicted empty costs nothing.

    Args:
        logits: (B, 1, H, W) float.
        region: (B, 1, H, W) float in [0, 1].

    Returns:
        Scalar in [0, 1).

    Raises:
        ShapeError: the two differ in shape.

    Example:
        >>> import torch
        >>> half = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
        >>> round(float(dice_loss(torch.full((1, 1, 1, 4), 20.0), half)), 4)  # 1 - 5 / 7
        0.2857
    """
    _check(logits, region)
    predicted = logits.sigmoid().flatten(1)
    true = region.flatten(1)
    shared = 2 * (predicted * true).sum(1) + 1
    both = predicted.square().sum(1) + true.square().sum(1) + 1
    return (1 - shared / both).mean()


def _check(logits: Tensor, region: Tensor) -> None:
    if logits.shape != region.shape:
        raise ShapeError(
            f"logits and region must have one shape, got {tuple(logits.shape)} and "
            f"{tuple(region.shape)}"
        )
