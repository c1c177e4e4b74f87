"""Sums over the processes of a run, which gradients pass through.

Convention:
    Every process computes the loss of the whole batch. The loop averages gradients over processes,
    so what it minimises is the mean of their losses, and each operation here has the exact adjoint
    of that sum: going back, gradients are added up over the processes too.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def shard(rows: int, rank: int, world: int) -> tuple[int, int]:
    """Return the first row of a process's share, and the first that is no longer its own.

    Example:
        >>> [shard(10, rank, 3) for rank in range(3)]
        [(0, 3), (3, 6), (6, 10)]
    """
    return rows * rank // world, rows * (rank + 1) // world


def process_sum(values: Tensor) -> Tensor:
    """Add a tensor of one shape up over all processes; alone, return it as it is.

    Args:
        values: float, of the same shape in every process.

    Returns:
        The sum, the same in every process.

    Example:
        >>> process_sum(torch.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    total: Tensor = values if _alone() else _Sum.apply(values)
    return total


def process_max(values: Tensor) -> Tensor:
    """Return the elementwise maximum over all processes; gradients end here."""
    values = values.detach().clone()
    if not _alone():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def gather_faces(features: Tensor, label: Tensor, rank: int, world: int) -> tuple[Tensor, Tensor]:
    """Bring the faces of all processes together, those of the first process first.

    Args:
        features: (B, D) float; B may differ from process to process.
        label: (B,) int64, -1 where unknown.
        rank: of this process.
        world: number of processes.

    Returns:
        (N, D) float and (N,) int64, the same in every process. Shorter batches are filled up with
        faces of value 0 and unknown label.
    """
    if world == 1:
        return features, label
    longest = int(process_max(torch.tensor(len(label), device=label.device)))
    spread = features.new_zeros(world, longest, features.shape[1])
    spread[rank, : len(features)] = features
    labels = label.new_full((world, longest), -1)
    labels[rank, : len(label)] = label
    return process_sum(spread).flatten(0, 1), process_max(labels).flatten()


def _alone() -> bool:
    return not (dist.is_available() and dist.is_initialized())


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
