"""Several training processes started by `torchrun`, each with its share of every batch.

Gradients are averaged after the backward pass, in one message per step and network. That gives
what a wrapped network would, and leaves the methods free to call whatever part of it they need.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: of this one, from 0.
        inner: whether they have joined for more than this run, and stay together after it.
    """

    rank: int = 0
    size: int = 1
    inner: bool = False

    @property
    def writes(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; one without counts as 0.

        Parameters that ask for no gradient at present are left alone.
        """
        owners = [parameter for parameter in parameters if parameter.requires_grad]
        if self.size == 1 or not owners:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in owners]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for owner, gradient, piece in zip(owners, gradients, pieces, strict=True):
            owner.grad = piece.view_as(gradient).clone()

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes; NaN or infinite if one of them is."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        if dist.get_backend() == "nccl":
            total = total.cuda()
        dist.all_reduce(total)
        return float(total) / self.size

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.mean(float(flag)) > 0

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Wait until all processes have come this far."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the group, unless it was joined for more than this run."""
        if self.size > 1 and not self.inner and dist.is_initialized():
            dist.destroy_process_group()


def join_world(device: str) -> tuple[World, str]:
    """Join the group `torchrun` has prepared, if it started this process.

    Runs that follow each other join once for all of them: a group that is founded a second time may
    meet what is left of the first, and wait for ever.

    Returns:
        The group, and the device of this process: on CUDA each has one of its own.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(), device
    on_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    inner = dist.is_initialized()
    if not inner:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    if on_cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    return World(dist.get_rank(), size, inner), device


def is_lost(error: RuntimeError) -> bool:
    """Whether a failure means that another process of the run is gone; gloo has no class for it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
