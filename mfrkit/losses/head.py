"""The classifier over identities that margins act on; used while training, never exported."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import ShapeError
from mfrkit.losses.margin import Magnitude, Margin


def cosine_logits(features: Tensor, weight: Tensor) -> Tensor:
    """Compare every face with every identity.

    Args:
        features: (B, D) float, any length.
        weight: (K, D) float, one row per identity, any length.

    Returns:
        (B, K) float, cosines clamped to [-1, 1].

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

    Example:
        >>> from mfrkit.losses.margin import create_margin
        >>> head = MarginHead(4, 3, create_margin("cosface"))
        >>> bool(head(torch.ones(2, 4), torch.tensor([0, 2])) > 0)
        True
    """

    def __init__(self, dim: int, classes: int, margin: Margin, scale: float = 64.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim).normal_(0, 0.01))
        self.margin = margin
        self.scale = scale

    def logits(self, features: Tensor, label: Tensor) -> Tensor:
        """Return scaled cosines with the margin taken from the true identity's.

        Args:
            features: (B, D) float, not of unit length: some margins depend on it.
            label: (B,) int64 in [0, K).

        Returns:
            (B, K) float.
        """
        # Angles need more digits than half precision has.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            cosines = cosine_logits(features, self.weight.float())
            target = cosines.gather(1, label[:, None])[:, 0]
            harder = self.margin(target, features.norm(dim=1))
            return self.scale * cosines.scatter(1, label[:, None], harder[:, None])

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Return the mean cross-entropy of the known faces, with MagFace's regulariser.

        Args:
            features: (B, D) float, any length.
            label: (B,) int64 in [0, K), -1 where unknown.

        Returns:
            A scalar; 0, with a gradient of 0, if nobody is known.
        """
        known = label >= 0
        if not bool(known.any()):
            return 0.0 * (features.sum() + self.weight.sum())
        features, label = features[known], label[known]
        loss = F.cross_entropy(self.logits(features, label), label)
        if isinstance(self.margin, Magnitude):
            loss = loss + self.margin.regulariser(features.float().norm(dim=1))
        return loss
