"""Choose the device a stage computes on, and threads that keep to one core each."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from mfrkit.errors import InputError


def resolve_device(name: str) -> torch.device:
    """Turn a `--device` value into a device that is there.

    Args:
        name: `auto` (CUDA, else Apple's MPS, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        InputError: the device is not on this machine.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
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


def single_core_pool(workers: int, name: str = "single-core") -> ThreadPoolExecutor:
    """Start threads whose torch operations each stay on one core.

    Limiting a thread also sets the default that later threads of the process begin with, hence the
    restoring; all threads must have started by then.

    Args:
        workers: number of threads.
        name: of the threads.
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
