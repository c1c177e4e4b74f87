"""Where and how a network computes: its device, threads of one core each, fast kernels."""

import os
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mfrkit.errors import InputError


def resolve_device(name: str) -> torch.device:
    """Turn a `--device` value into a device that is there.

    Args:
        name: `auto` (CUDA, else Apple's MPS, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        InputError: the device is not on this machine.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: {_why_no_cuda()}")
    if device.type == "mps" and not has_mps:
        raise InputError("--device mps: not available on this machine")
    return device


def _why_no_cuda() -> str:
    if not torch.backends.cuda.is_built():
        return (
            f"this torch ({torch.__version__}) is a build for CPUs; "
            "pytorch.org/get-started has the command that installs one with CUDA"
        )
    count = torch.cuda.device_count()
    if not count:
        return f"torch {torch.__version__} finds no CUDA device; nvidia-smi lists what is there"
    return f"this machine has {count} CUDA devices, from cuda:0"


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; to a GPU behind the work it has in hand, without waiting."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def single_core_pool(workers: int, name: str = "single-core") -> ThreadPoolExecutor:
    """Start threads whose torch operations each stay on one core.

    Limiting a thread also sets the default that later threads of the process begin with, hence the
    restoring; all threads must have started by then.
    """
    before = torch.get_num_threads()
    started = threading.Barrier(workers + 1)
    pool = ThreadPoolExecutor(workers, name, _stay_on_one_core)
    for _ in range(workers):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(before)
    return pool


def _stay_on_one_core() -> None:
    torch.get_num_threads()  # a thread takes up the default when first asked, undoing any limit
    torch.set_num_threads(1)


_COMPILERS = ("g++", "clang++", "c++", "cl")


def compile_in_place(networks: Iterable[nn.Module]) -> None:
    """Let networks compile themselves at their first calls; names and weights stay as they are.

    The kernels are made for one batch shape, that of all later calls. It takes about a minute, and
    on a processor gains most together with bf16, which on its own spends much time converting.

    Raises:
        InputError: there is no C++ compiler.
    """
    named = os.environ.get("CXX")
    if not any(shutil.which(each) for each in ((named,) if named else _COMPILERS)):
        raise InputError("fit.compile needs a C++ compiler (g++); install one or leave it off")
    for network in networks:
        network.compile(dynamic=False)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """Return (B, C, H, W) where it is positive, and elsewhere times its channel's slope, (C,).

    On a processor, maps in `channels_last` order go back face by face, so that what the steps of
    the gradient hand on stays in the cache; torch's own way took 2 to 3 times as long. Gradients
    are the same but for the order of a sum.
    """
    pays = (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )
    return _FaceByFace.apply(x, weight) if pays else F.prelu(x, weight)


class PReLU(nn.PReLU):
    """torch's PReLU, by `prelu` above while training."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return prelu(x, self.weight) if self.training else F.prelu(x, self.weight)


class _FaceByFace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.prelu(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x, to_weight = torch.empty_like(x), torch.zeros_like(weight)
        # Each face as (H * W, C) rows, which is how it lies in memory.
        for values, coming, going in zip(*map(_rows, (x, gradient, to_x)), strict=True):
            passed = torch.ops.aten.threshold_backward(coming, values, 0)
            rest = coming - passed
            torch.addcmul(passed, rest, weight, out=going)
            to_weight += rest.mul_(values).sum(0)
        return to_x, to_weight


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).flatten(1, 2)
