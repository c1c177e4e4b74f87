"""The embedding unmasking model: from the template of a masked face to that of the bare one.

Paper:
    Boutros, Damer, Kirchbuchner, Kuijper, "Self-restrained Triplet Loss for Accurate Masked Face
    Recognition", Pattern Recognition 124, 2022, arXiv:2103.01716, section 3: fully connected
    layers, each with batch norm and, all but the last, leaky ReLU of slope 0.2.

Differs:
    The layers add to the template instead of replacing it, and begin with adding nothing. So an
    untrained network changes no template, and a trained one hardly any of an unmasked face.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 0.2


class EmbeddingUnmasker(nn.Module):
    """Move templates of D = `dim` values towards those of unmasked faces, by at least 2 layers."""

    def __init__(self, dim: int = 512, width: int = 512, layers: int = 4) -> None:
        super().__init__()
        widths = [dim, *[width] * (layers - 1), dim]
        parts: list[nn.Module] = []
        for before, after in pairwise(widths):
            parts += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after)]
            parts.append(nn.LeakyReLU(_SLOPE))
        self.change = nn.Sequential(*parts[:-1])
        nn.init.zeros_(self.change[-1].weight)  # type: ignore[arg-type]

    def forward(self, templates: Tensor) -> Tensor:
        """Map (B, D) templates, any length, to (B, D) of unit norm."""
        templates = F.normalize(templates)
        return F.normalize(templates + self.change(templates))
