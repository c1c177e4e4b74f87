"""What holds drawn pictures to true ones: pixels, features, identity, regions, critics.

Paper:
    Pixels: Yu et al., "Generative Image Inpainting with Contextual Attention", CVPR 2018,
    arXiv:1801.07892, section 3.2: absolute differences, those in the hole discounted with the
    distance from its border, because the middle of a large hole has more than one true answer.
    Features: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric", CVPR 2018, arXiv:1801.03924, eq. 1, with equal weights for all channels.
    Style: Gatys, Ecker, Bethge, CVPR 2016, eq. 3 to 5.
    Hinge: Lim and Ye, "Geometric GAN", 2017, arXiv:1705.02894, eq. 7 and 8. Wasserstein: Arjovsky
    et al., ICML 2017, arXiv:1701.07875; its penalty: Gulrajani et al., NeurIPS 2017,
    arXiv:1704.00028, eq. 3, confined to the hole as in Yu et al., section 3.3.
    Differs: absolute instead of squared differences of Gram matrices.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError

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
    """
    total, count = picture.new_zeros(()), hole.new_zeros(())
    for axis in (2, 3):
        length = picture.shape[axis] - 1
        pairs = torch.minimum(hole.narrow(axis, 0, length), hole.narrow(axis, 1, length))
        steps = picture.diff(dim=axis).abs().mean(1, keepdim=True)
        total, count = total + (steps * pairs).sum(), count + pairs.sum()
    return total / count.clamp_min(_TINY)


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
    _check_maps(made, true)
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
    _check_maps(made, true)
    layers = []
    for a, b in zip(made, true, strict=True):
        one, two = gram(a.float()), gram(b.detach().float())
        size = two.abs().sum((1, 2)).clamp_min(1e-12)
        layers.append((one - two).abs().sum((1, 2)) / size)
    return torch.stack(layers).mean(0)


def gram(features: Tensor) -> Tensor:
    """Return (B, C, C), the products of all channels of (B, C, H, W), averaged over positions."""
    rows = features.flatten(2)
    return rows @ rows.transpose(1, 2) / rows.shape[2]


def _check_maps(made: Sequence[Tensor], true: Sequence[Tensor]) -> None:
    shapes = [[tuple(each.shape) for each in maps] for maps in (made, true)]
    if shapes[0] != shapes[1] or not made:
        raise ShapeError(f"feature maps differ: {shapes[0]} and {shapes[1]}")


def identity_distance(made: Tensor, true: Tensor) -> Tensor:
    """Return (B,) 1 - cosine in [0, 2]: how far completed faces are from the true ones.

    Paper:
        Li et al., "Look Through Masks", ACM MM 2020, arXiv:2409.12385 compares the recogniser's
        features of completed and true faces; here by their cosine, the measure of verification.

    Args:
        made: (B, D) float, embeddings of completed faces; the gradient goes through the recogniser
            to the faces.
        true: (B, D) float, embeddings of the true ones; gets no gradient.

    Raises:
        ShapeError: different shapes.
    """
    if made.shape != true.shape:
        raise ShapeError(f"embeddings differ: {tuple(made.shape)} and {tuple(true.shape)}")
    return 1 - F.cosine_similarity(made.float(), true.detach().float())


def pixel_loss(logits: Tensor, region: Tensor) -> Tensor:
    """Return the mean cross-entropy of the pixels, a scalar, at least 0.

    Args:
        logits: (B, 1, H, W) float.
        region: (B, 1, H, W) float in [0, 1], how much of each pixel is covered.

    Raises:
        ShapeError: the two differ in shape.
    """
    _check_regions(logits, region)
    return F.binary_cross_entropy_with_logits(logits, region)


def dice_loss(logits: Tensor, region: Tensor) -> Tensor:
    """Return one minus the soft Dice overlap, averaged over faces, a scalar in [0, 1).

    It counts a small region as much as a large one, which the mean over pixels does not. A face
    without region costs as much as there is predicted on it.

    Paper:
        Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, arXiv:1606.04797, section 3.
        Differs: one pixel is added to both sides of the fraction, so that an empty region that
        is predicted empty costs nothing.

    Args:
        logits: (B, 1, H, W) float.
        region: (B, 1, H, W) float in [0, 1].

    Raises:
        ShapeError: the two differ in shape.
    """
    _check_regions(logits, region)
    predicted = logits.sigmoid().flatten(1)
    true = region.flatten(1)
    shared = 2 * (predicted * true).sum(1) + 1
    both = predicted.square().sum(1) + true.square().sum(1) + 1
    return (1 - shared / both).mean()


def _check_regions(logits: Tensor, region: Tensor) -> None:
    if logits.shape != region.shape:
        raise ShapeError(
            f"logits and region must have one shape, got {tuple(logits.shape)} and "
            f"{tuple(region.shape)}"
        )


Game = Literal["hinge", "wasserstein"]


def critic_loss(true: Tensor, made: Tensor, game: Game) -> Tensor:
    """Return what a critic minimises, a scalar.

    Args:
        true: scores of true pictures, any shape, higher is truer.
        made: scores of made ones.
        game: `hinge` or `wasserstein`.

    Example:
        >>> true, made = torch.tensor([2.0, 0.5]), torch.tensor([-3.0])
        >>> critic_loss(true, made, "hinge"), critic_loss(true, made, "wasserstein")
        (tensor(0.2500), tensor(-4.2500))
    """
    if game == "hinge":
        return F.relu(1 - true).mean() + F.relu(1 + made).mean()
    return made.mean() - true.mean()


def generator_loss(made: Tensor) -> Tensor:
    """Return what the generator minimises in either game, a scalar, of the scores of its work."""
    return -made.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], true: Tensor, made: Tensor, hole: Tensor, mix: Tensor
) -> Tensor:
    """Return how far the critic's slope is from 1 between true and made pictures.

    Args:
        critic: maps pictures to (B, ...) scores.
        true: (B, C, H, W) float.
        made: (B, C, H, W) float.
        hole: (B, 1, H, W) in [0, 1]; the slope is taken inside.
        mix: (B,) in [0, 1], where between the two each face is.

    Returns:
        Mean of (slope - 1) squared over the faces, differentiable by the critic's parameters.
    """
    between = torch.lerp(made.detach(), true.detach(), mix[:, None, None, None]).requires_grad_()
    scores = critic(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    slope = (gradient * hole).flatten(1).square().sum(1).clamp_min(1e-12).sqrt()
    return (slope - 1).square().mean()
