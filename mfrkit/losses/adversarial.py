"""What critics and generators play for: hinge, and Wasserstein with a gradient penalty.

Paper:
    Hinge: Lim and Ye, "Geometric GAN", 2017, arXiv:1705.02894, eq. 7 and 8. Wasserstein: Arjovsky
    et al., ICML 2017, arXiv:1701.07875; its penalty: Gulrajani et al., NeurIPS 2017,
    arXiv:1704.00028, eq. 3, confined to the hole as in Yu et al., CVPR 2018, arXiv:1801.07892,
    section 3.3.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

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
    """Return what the generator minimises in either game, a scalar.

    Args:
        made: scores of what it made.
    """
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
