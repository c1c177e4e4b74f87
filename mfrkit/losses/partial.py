"""A classifier over very many identities: its rows dealt out to the processes, or only some used.

Paper:
    An et al., "Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition
    CNNs by Partial FC", CVPR 2022, arXiv:2203.15565: every process holds K / W rows and compares
    all faces with them; a step uses all identities that occur in it and a random choice of the
    others.
    Differs: the softmax over the shards is a sum with an exact adjoint instead of a gradient by
    hand, so every margin works, and unused rows still see weight decay.

Convention:
    Every process computes the loss of the whole batch. The loop averages gradients over processes,
    so what it minimises is the mean of their losses, and each sum over processes here has the
    exact adjoint of that: going back, gradients are added up over the processes too.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mfrkit.errors import InputError
from mfrkit.losses.margin import Magnitude, Margin, cosine_logits


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


_BLOCK = 4096  # rows


class PartialHead(nn.Module):
    """`MarginHead` over several processes and over a sample of the identities.

    With one process and `sample` 1 the loss is that of `MarginHead` but for rounding. Every process
    has to call it at every step, with or without faces it knows.

    Args:
        dim: D of the features.
        classes: K identities, at least one for each process.
        margin: how the true identity is made harder; one that is drawn is drawn where the
            identity's row lies.
        scale: s, what cosines are multiplied with.
        sample: share of each process's rows that a step uses, in (0, 1]; identities of the step's
            faces are always among them, even if that makes more.
        rank: of this process.
        world: number of processes.

    Raises:
        InputError: fewer identities than processes.

    Example:
        >>> from mfrkit.losses.margin import create_margin
        >>> head = PartialHead(4, 100, create_margin("arcface"), sample=0.1)
        >>> bool(head(torch.ones(2, 4), torch.tensor([7, -1])) > 0)
        True
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        margin: Margin,
        scale: float = 64.0,
        *,
        sample: float = 1.0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        if classes < world:
            raise InputError(f"{classes} identities cannot be dealt out to {world} processes")
        self.first, stop = shard(classes, rank, world)
        self.weight = nn.Parameter(_fresh_rows(classes, dim, self.first, stop))
        self.margin = margin
        self.scale, self.sample = scale, sample
        self.rank, self.world = rank, world

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Return the mean cross-entropy over the known faces of all processes.

        Args:
            features: (B, D) float, this process's faces.
            label: (B,) int64 in [0, K), -1 where unknown.

        Returns:
            A scalar, the same in every process; 0, with a gradient of 0, where nobody is known.
        """
        with torch.autocast(features.device.type, enabled=False):
            features, label = gather_faces(features.float(), label, self.rank, self.world)
            known = label >= 0
            if not bool(known.any()):
                return 0.0 * (features.sum() + self.weight.sum())
            return self._cross_entropy(features[known], label[known])

    def _cross_entropy(self, features: Tensor, label: Tensor) -> Tensor:
        """Return the loss of (N, D) known faces, of which this process holds some identities."""
        rows, place, mine = self._rows(label)
        cosines = cosine_logits(features, self.weight[rows].float())
        norms = features.norm(dim=1)
        place = place[:, None]
        own = torch.where(mine, cosines.gather(1, place)[:, 0], 0.0)
        # All processes know all true cosines, since some margins rank them; the owner's drawn
        # margin is the one that counts.
        harder = self.margin(process_sum(own), norms)
        true = self.scale * process_sum(torch.where(mine, harder, 0.0))
        is_true = torch.zeros_like(cosines, dtype=torch.bool).scatter_(1, place, mine[:, None])
        others = (self.scale * cosines).masked_fill(is_true, -torch.inf)
        highest = torch.maximum(process_max(others.amax(1)), true.detach())
        total = process_sum((others - highest[:, None]).exp().sum(1)) + (true - highest).exp()
        loss = (highest + total.log() - true).mean()
        if isinstance(self.margin, Magnitude):
            loss = loss + self.margin.regulariser(norms)
        return loss

    def _rows(self, label: Tensor) -> tuple[Tensor | slice, Tensor, Tensor]:
        """Choose the rows of a step.

        Returns:
            The M rows of this process's weight, rising; (N,) int64 each face's place among them,
            0 for an identity of another process; (N,) bool whose identity lies here.
        """
        count = len(self.weight)
        mine = (label >= self.first) & (label < self.first + count)
        row = torch.where(mine, label - self.first, 0)
        if self.sample == 1:
            return slice(None), row, mine
        needed = row[mine].unique()
        priority = torch.rand(count, device=label.device).index_fill_(0, needed, 2.0)
        size = max(1, round(self.sample * count), len(needed))
        rows = priority.topk(size).indices.sort().values
        return rows, torch.where(mine, torch.searchsorted(rows, row), 0), mine


def _fresh_rows(classes: int, dim: int, first: int, stop: int) -> Tensor:
    """Return rows `first` to `stop` of a (K, D) start.

    All processes draw all rows, block by block: a run starts alike over any number of processes,
    and none of them has to hold what the others train.
    """
    rows = torch.empty(stop - first, dim)
    for start in range(0, classes, _BLOCK):
        block = torch.empty(min(_BLOCK, classes - start), dim).normal_(0, 0.01)
        begin, end = max(first, start), min(stop, start + len(block))
        if begin < end:
            rows[begin - first : end - first] = block[begin - start : end - start]
    return rows
