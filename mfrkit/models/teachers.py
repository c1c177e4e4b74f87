"""Teachers of a distillation: one recogniser or several, as one source of templates."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mfrkit.models.recogniser import Recogniser


class Teachers(nn.Module):
    """Several recognisers side by side.

    A template is their unit vectors in a row, divided by the root of their number: of unit length
    again, and the cosine of two templates is the mean of the recognisers' cosines.

    Args:
        recognisers: at least one, all of one input size.

    Example:
        >>> from mfrkit.models.recognisers import load_recogniser
        >>> arcface = load_recogniser("arcface")
        >>> teachers = Teachers([arcface, arcface])
        >>> with torch.no_grad():
        ...     template = teachers(torch.rand(1, 3, 112, 112))
        >>> tuple(template.shape), round(float(template.norm()), 4)
        ((1, 384), 1.0)
    """

    def __init__(self, recognisers: Sequence[Recogniser]) -> None:
        super().__init__()
        self.recognisers = nn.ModuleList(recognisers)
        self.dim = sum(each.card.embedding_dim or 0 for each in recognisers)

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces (B, 3, H, W), RGB in [0, 1], as (B, D) of unit norm."""
        templates = [recogniser(faces) for recogniser in self.recognisers]
        return torch.cat(templates, 1) / math.sqrt(len(templates))
