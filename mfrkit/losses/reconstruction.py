"""How far a completed picture is from the true one, pixel by pixel, inside the hole and outside.

Paper:
    Yu et al., "Generative Image Inpainting with Contextual Attention", CVPR 2018, arXiv:1801.07892,
    section 3.2: absolute differences, those in the hole discounted with the distance from its
    border, because the middle of a large hole has more than one true answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-6


def masked_l1(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the mean absolute difference under a weight, a scalar.

    Args:
        picture: (B, C, H, W) float.
        truth: (B, C, H, W) float.
        weight: (B, 1, H, W) float, at least 0: the hole, or what is left of the picture. All faces'
            pixels count alike, so a face with a larger hole counts more.

    Returns:
        Sum of weighted differences over sum of weights, channels averaged; 0 without any weight.

    Example:
        >>> picture, truth = torch.tensor([[[[1.0, 5.0]]]]), torch.zeros(1, 1, 1, 2)
        >>> masked_l1(picture, truth, torch.tensor([[[[3.0, 1.0]]]])).item()
        2.0
    """
    difference = (picture - truth).abs().mean(1, keepdim=True)
    return (difference * weight).sum() / weight.sum().clamp_min(_TINY)


def border_weight(hole: Tensor, gamma: float) -> Tensor:
    """Return the hole, discounted by gamma to the power of the distance to its border.

    Convention:
        Chessboard distance in pixels; a pixel of the hole beside a known one has distance 1. Beyond
        the picture nothing is known.

    Args:
        hole: (B, 1, H, W) in [0, 1]; a pixel is unknown from one half.
        gamma: in (0, 1]; 1 returns the hole itself.

    Returns:
        (B, 1, H, W) float.

    Example:
        >>> border_weight(torch.tensor([[[[0.0, 1.0, 1.0, 1.0]]]]), 0.5).flatten().tolist()
        [0.0, 0.5, 0.25, 0.125]
    """
    if gamma == 1:
        return hole
    weight, left = hole.clone(), (hole >= 0.5).to(hole.dtype)
    for _ in range(max(hole.shape[2:])):
        if not bool(left.any()):
            break
        weight = weight * torch.where(left > 0, gamma, 1.0)
        left = -F.max_pool2d(-left, 3, 1, 1)  # what is padded is no part of the minimum
    return weight


def total_variation(picture: Tensor, hole: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels inside the hole, a scalar.

    Args:
        picture: (B, C, H, W) float.
        hole: (B, 1, H, W) in [0, 1]; a pair counts as much as its less covered pixel.

    Example:
        >>> picture = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
        >>> total_variation(picture, torch.ones(1, 1, 2, 2)).item()
        0.5
    """
    total, count = picture.new_zeros(()), hole.new_zeros(())
    for axis in (2, 3):
        length = picture.shape[axis] - 1
        pairs = torch.minimum(hole.narrow(axis, 0, length), hole.narrow(axis, 1, length))
        steps = picture.diff(dim=axis).abs().mean(1, keepdim=True)
        total, count = total + (steps * pairs).sum(), count + pairs.sum()
    return total / count.clamp_min(_TINY)
