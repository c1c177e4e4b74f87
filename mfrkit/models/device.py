"""Choose the device a stage computes on."""

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
        raise InputError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    if device.type == "mps" and not has_mps:
        raise InputError("--device mps: not available on this machine")
    return device
