"""Where a network looks: spatial attention of a feature map, and how far two networks' differ.

Paper:
    Zagoruyko, Komodakis, "Paying More Attention to Attention: Improving the Performance of
    Convolutional Neural Networks via Attention Transfer", ICLR 2017, arXiv:1612.03928, eq. 2.
"""

import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError

_TINY = 1e-12  # of a squared distance: the root's slope is infinite at 0


def attention_map(features: Tensor) -> Tensor:
    """Return the energy of every place, summed over channels, as a vector of unit length.

    Args:
        features: (B, C, H, W) float.

    Returns:
        (B, H * W) float, at least 0, unit norm.

    Example:
        >>> import torch
        >>> attention_map(torch.tensor([[[[3.0, 0.0]], [[0.0, 1.0]]]]))
        tensor([[0.9939, 0.1104]])
    """
    return F.normalize(features.square().sum(1).flatten(1))


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Measure, face by face, how far the student's attention is from the teacher's.

    Args:
        student: (B, C, H, W) float.
        teacher: (B, E, H, W) float; gets no gradient.

    Returns:
        (B,) float in [0, sqrt(2)], the length of the difference of the two attention maps.

    Raises:
        ShapeError: maps of different batch or size.
    """
    a, b = attention_map(student), attention_map(teacher.detach())
    if a.shape != b.shape:
        raise ShapeError(
            f"feature maps differ in size: {tuple(student.shape)} vs {tuple(teacher.shape)}"
        )
    return (a - b).square().sum(1).clamp_min(_TINY).sqrt()
