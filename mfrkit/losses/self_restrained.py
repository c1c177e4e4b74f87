"""The self-restrained triplet loss: pull to the same person, push from others only while needed.

Paper:
    Boutros, Damer, Kirchbuchner, Kuijper, "Self-restrained Triplet Loss for Accurate Masked Face
    Recognition", Pattern Recognition 124, 2022, arXiv:2103.01716.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError


def self_restrained_triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 2.0
) -> Tensor:
    """Measure triplets of an unmasked template, the true one, and another person's.

    With d1 the squared distance anchor to positive, d2 anchor to negative, d3 positive to negative:
    max(d1 - d2 + margin, 0) as in the plain triplet loss while the anchors are nearer to other
    people than true templates are, mean(d2) < mean(d3). From there on max(d1 - mean(d3) + margin,
    0), in which nothing pushes any more and all effort goes into d1.

    Convention:
        Squared Euclidean distances of unit vectors, 2 - 2 cos, in [0, 4]. Means are over the batch,
        as in the code published with the paper.

    Args:
        anchor: (B, D) float, any length: what the network made of the masked faces.
        positive: (B, D) float, the same people without mask; gets no gradient.
        negative: (B, D) float, other people without mask; gets no gradient.
        margin: at most 4; the paper has 2.

    Returns:
        (B,) float, at least 0.

    Raises:
        ShapeError: different shapes.

    Example:
        >>> a, n = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> self_restrained_triplet(a, a, n).tolist(), self_restrained_triplet(n, a, n).tolist()
        ([0.0], [4.0])
    """
    if not anchor.shape == positive.shape == negative.shape:
        shapes = ", ".join(str(tuple(each.shape)) for each in (anchor, positive, negative))
        raise ShapeError(f"the templates of triplets differ in shape: {shapes}")
    positive, negative = positive.detach(), negative.detach()
    genuine = squared_distance(anchor, positive)
    impostor = squared_distance(anchor, negative)
    usual = squared_distance(positive, negative).mean()
    limit = torch.where(impostor.mean() >= usual, usual, impostor)
    return F.relu(genuine - limit + margin)


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the (B,) squared distances of the directions of (B, D) vectors, in [0, 4]."""
    return 2 - 2 * F.cosine_similarity(a, b)
