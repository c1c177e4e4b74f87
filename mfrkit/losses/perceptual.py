"""Distances between pictures as a network sees them: what is where, and of which texture.

Paper:
    Features: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric", CVPR 2018, arXiv:1801.03924, eq. 1, with equal weights for all channels.
    Style: Gatys, Ecker, Bethge, CVPR 2016, eq. 3 to 5.
    Differs: absolute instead of squared differences of Gram matrices.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError


def feature_distance(made: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    """Return how differently a network sees two batches of pictures, face by face.

    At each position of each map the channels are one vector; what counts is the angle.

    Args:
        made: maps (B, C, H, W) float of some layers.
        true: maps of the same layers; get no gradient.

    Returns:
        (B,) float32 in [0, 2]: 1 - cosine, averaged over positions, then over layers.

    Raises:
        ShapeError: the maps differ in number or shape, or there are none.

    Example:
        >>> a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> feature_distance([a, a], [a, a.flip(1)]).tolist()
        [0.5]
    """
    _check(made, true)
    layers = [
        1 - F.cosine_similarity(a.float(), b.detach().float(), 1).mean((1, 2))
        for a, b in zip(made, true, strict=True)
    ]
    return torch.stack(layers).mean(0)


def style_distance(made: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    """Return how far textures differ, wherever they are: between Gram matrices, face by face.

    Args:
        made: maps (B, C, H, W) float of some layers.
        true: maps of the same layers; get no gradient.

    Returns:
        (B,) float32, at least 0: absolute differences of the matrices divided by those of the true
        ones, averaged over layers.

    Raises:
        ShapeError: the maps differ in number or shape, or there are none.
    """
    _check(made, true)
    layers = []
    for a, b in zip(made, true, strict=True):
        one, two = gram(a.float()), gram(b.detach().float())
        size = two.abs().sum((1, 2)).clamp_min(1e-12)
        layers.append((one - two).abs().sum((1, 2)) / size)
    return torch.stack(layers).mean(0)


def gram(features: Tensor) -> Tensor:
    """Return the products of all pairs of channels, averaged over positions.

    Args:
        features: (B, C, H, W) float.

    Returns:
        (B, C, C) float.

    Example:
        >>> gram(torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])).tolist()
        [[[5.0, 1.0], [1.0, 2.0]]]
    """
    rows = features.flatten(2)
    return rows @ rows.transpose(1, 2) / rows.shape[2]


def _check(made: Sequence[Tensor], true: Sequence[Tensor]) -> None:
    shapes = [[tuple(each.shape) for each in maps] for maps in (made, true)]
    if shapes[0] != shapes[1] or not made:
        raise ShapeError(f"feature maps differ: {shapes[0]} and {shapes[1]}")
