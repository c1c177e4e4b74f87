"""Relations between the faces of a batch, and how far a student's differ from its teacher's.

One face against its own template, two faces by their distance, three by the angles between them:
relations of order two and three exist between embeddings of any two widths.

Paper:
    Li, Ge, Zhang, Li, "Look Through Masks: Towards Masked Face Recognition with De-Occlusion
    Distillation", ACM MM 2020, arXiv:2409.12385: the three orders. The definitions of orders two
    and three are those of Park et al., "Relational Knowledge Distillation", CVPR 2019,
    arXiv:1904.05068, eq. 4 to 8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError

_TINY = 1e-12


def template_distance(student: Tensor, teacher: Tensor, kind: str = "cosine") -> Tensor:
    """Measure, face by face, how far the student's direction is from the teacher's.

    Args:
        student: (B, D) float, any length.
        teacher: (B, D) float, any length; gets no gradient.
        kind: `cosine` gives 1 - cos; `mse` the squared difference of the unit vectors averaged
            over the D coordinates, which is 2 / D as much.

    Returns:
        (B,) float, at least 0.

    Raises:
        ShapeError: different shapes.

    Example:
        >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> template_distance(a, b).tolist(), template_distance(a, b, "mse").tolist()
        ([1.0], [1.0])
    """
    if student.shape != teacher.shape:
        raise ShapeError(
            f"templates differ in shape: {tuple(student.shape)} vs {tuple(teacher.shape)}"
        )
    distance = 1 - F.cosine_similarity(student, teacher.detach())
    return distance if kind == "cosine" else distance * (2 / student.shape[1])


def pair_relations(embeddings: Tensor) -> Tensor:
    """Return all distances between the faces of a batch, their mean off the diagonal being 1.

    Args:
        embeddings: (B, D) float, B >= 2.

    Returns:
        (B, B) float, symmetric, 0 on the diagonal.

    Example:
        >>> pair_relations(torch.tensor([[0.0], [1.0], [2.0]])).round(decimals=2).tolist()[0]
        [0.0, 0.75, 1.5]
    """
    squares = embeddings.square().sum(1)
    squared = squares[:, None] + squares[None] - 2 * embeddings @ embeddings.T
    same = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    distances = squared.clamp_min(_TINY).sqrt().masked_fill(same, 0.0)
    apart = len(embeddings) * (len(embeddings) - 1)
    return distances / (distances.sum() / max(apart, 1)).clamp_min(_TINY)


def triplet_relations(embeddings: Tensor) -> Tensor:
    """Return the cosine of the angle at j in every triangle i, j, k of a batch.

    Args:
        embeddings: (B, D) float; memory grows with B cubed.

    Returns:
        (B, B, B) float in [-1, 1], indexed [j, i, k]; 0 where two corners coincide.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> [round(v, 3) for v in triplet_relations(corners)[1, 0].tolist()]
        [0.0, 0.0, 0.707]
    """
    rays = F.normalize(embeddings[None] - embeddings[:, None], dim=2, eps=_TINY)  # [j, i] from j
    cosines = rays @ rays.transpose(1, 2)
    diagonal = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    return cosines.masked_fill(diagonal[None], 0.0)  # the angle of a side with itself says nothing


def pair_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far distances (B, D) are from the teacher's (B, E): smooth L1, a scalar."""
    _check(student, teacher)
    return F.smooth_l1_loss(pair_relations(student), pair_relations(teacher.detach()))


def triplet_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far triplet angles (B, D) are from the teacher's (B, E): smooth L1, a scalar."""
    _check(student, teacher)
    return F.smooth_l1_loss(triplet_relations(student), triplet_relations(teacher.detach()))


def _check(student: Tensor, teacher: Tensor) -> None:
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
        raise ShapeError(
            f"relations need (B, D) and (B, E), got {tuple(student.shape)}, {tuple(teacher.shape)}"
        )
