"""Margins and the classifier they act on: ArcFace, CosFace, ElasticFace, none.

All of them classify by the cosine between a face and one weight vector per identity, and differ
only in how much harder they make the true identity's cosine. So each is a small object that maps
the true cosine to the penalised one; `MarginHead` does the rest. It is used while training, never
exported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError, instead


def add_angle(cosine: Tensor, margin: Tensor | float) -> Tensor:
    """Widen angles: cos(theta + m), continued downwards where theta + m would pass pi.

    Args:
        cosine: (B,) float in [-1, 1].
        margin: (B,) float or a number, radians; may be negative.

    Returns:
        (B,) float; falls steadily with theta for positive margins.

    Example:
        >>> add_angle(torch.tensor([0.5]), torch.pi / 6).round(decimals=4).tolist()
        [0.0]
    """
    m = torch.as_tensor(margin, dtype=cosine.dtype, device=cosine.device)
    # The sine's slope is infinite where the cosine is 1; stay a rounding error away from there.
    sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()
    shifted = cosine * m.cos() - sine * m.sin()
    return torch.where(cosine > -m.cos(), shifted, cosine - m * m.sin())


@dataclass(frozen=True)
class Fixed:
    """The same margin for every face: ArcFace by angle, CosFace by cosine, softmax by neither.

    Paper:
        Deng et al., CVPR 2019, arXiv:1801.07698, eq. 3 (angle); Wang et al., CVPR 2018,
        arXiv:1801.09414, eq. 4 (cosine).

    Attributes:
        angle: added to the angle, radians.
        cosine: taken from the cosine.
    """

    angle: float = 0.0
    cosine: float = 0.0

    def __call__(self, target: Tensor) -> Tensor:
        """Penalise (B,) true cosines."""
        return (add_angle(target, self.angle) if self.angle else target) - self.cosine


@dataclass(frozen=True)
class Elastic:
    """A margin drawn anew for every face and step.

    Paper:
        Boutros et al., "ElasticFace", CVPRW 2022, arXiv:2109.09416, eq. 5 to 8.

    Attributes:
        mean: of the normal distribution margins come from.
        std: of it.
        angular: ElasticFace-Arc (margin on the angle) or -Cos (on the cosine).
        sorted: the "+" form: the largest margins go to the faces with the smallest true cosine.
    """

    mean: float
    std: float
    angular: bool = True
    sorted: bool = False

    def __call__(self, target: Tensor) -> Tensor:
        """Penalise (B,) true cosines; draws from torch's default generator of their device."""
        margin = torch.empty_like(target).normal_(self.mean, self.std)
        if self.sorted:
            order = target.detach().argsort()
            margin = torch.empty_like(margin).index_copy_(
                0, order, margin.sort(descending=True).values
            )
        return add_angle(target, margin) if self.angular else target - margin


Margin = Fixed | Elastic

MARGINS: Mapping[str, Callable[[], Margin]] = {
    "softmax": Fixed,
    "arcface": lambda: Fixed(angle=0.5),
    "cosface": lambda: Fixed(cosine=0.35),
    "elastic-arc": lambda: Elastic(0.5, 0.05),
    "elastic-arc+": lambda: Elastic(0.5, 0.0175, sorted=True),
    "elastic-cos": lambda: Elastic(0.35, 0.05, angular=False),
    "elastic-cos+": lambda: Elastic(0.35, 0.02, angular=False, sorted=True),
}


def create_margin(name: str) -> Margin:
    """Build a margin with its paper's numbers.

    Raises:
        InputError: no such margin.
    """
    if name not in MARGINS:
        raise InputError(f"unknown margin {name!r}{instead(name, tuple(MARGINS))}")
    return MARGINS[name]()


def cosine_logits(features: Tensor, weight: Tensor) -> Tensor:
    """Compare faces (B, D) with identities (K, D), of any length: (B, K) cosines in [-1, 1].

    Raises:
        ShapeError: the two differ in D.

    Example:
        >>> cosine_logits(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, -2.0]]))
        tensor([[ 0.6000, -0.8000]])
    """
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise ShapeError(
            f"features and class weights must be (B, D) and (K, D), got {tuple(features.shape)} "
            f"and {tuple(weight.shape)}"
        )
    return (F.normalize(features) @ F.normalize(weight).T).clamp(-1, 1)


class MarginHead(nn.Module):
    """A classifier over identities with a margin; used while training, never exported.

    Args:
        dim: D of the features.
        classes: K identities.
        margin: how the true identity is made harder.
        scale: s, what cosines are multiplied with.
    """

    def __init__(self, dim: int, classes: int, margin: Margin, scale: float = 64.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim).normal_(0, 0.01))
        self.margin = margin
        self.scale = scale

    def logits(self, features: Tensor, label: Tensor) -> Tensor:
        """Return (B, K) scaled cosines with the margin taken from the true identity's.

        Args:
            features: (B, D) float, any length.
            label: (B,) int64 in [0, K).
        """
        # Angles need more digits than half precision has.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            cosines = cosine_logits(features, self.weight.float())
            target = cosines.gather(1, label[:, None])[:, 0]
            harder = self.margin(target)
            return self.scale * cosines.scatter(1, label[:, None], harder[:, None])

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Return the mean cross-entropy of the known faces.

        Args:
            features: (B, D) float, any length.
            label: (B,) int64 in [0, K), -1 where unknown.

        Returns:
            A scalar; 0, with a gradient of 0, if nobody is known.
        """
        known = label >= 0
        if not bool(known.any()):
            return 0.0 * (features.sum() + self.weight.sum())
        return F.cross_entropy(self.logits(features[known], label[known]), label[known])
