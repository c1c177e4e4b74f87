"""How much two parts of a feature map say the same."""

import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError


def decorrelation(one: Tensor, other: Tensor) -> Tensor:
    """Measure, face by face, how far two parts of a feature map point the same way.

    Each is averaged over its places first, so that what counts is which channels are at work.

    Args:
        one: (B, C, H, W) float.
        other: (B, C, H, W) float.

    Returns:
        (B,) float32 in [0, 1]: the absolute cosine, 0 where the parts share nothing.

    Raises:
        ShapeError: different shapes.

    Example:
        >>> import torch
        >>> one = torch.tensor([[3.0, 4.0]]).view(1, 2, 1, 1)
        >>> [decorrelation(one, torch.tensor([[a, b]]).view(1, 2, 1, 1)).item()
        ...  for a, b in ((-6.0, -8.0), (4.0, -3.0))]
        [1.0, 0.0]
    """
    if one.shape != other.shape:
        raise ShapeError(f"parts differ: {tuple(one.shape)} and {tuple(other.shape)}")
    return F.cosine_similarity(one.float().mean((2, 3)), other.float().mean((2, 3))).abs()
