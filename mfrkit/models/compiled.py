"""Compile a network's arithmetic into fused kernels before a long training."""

import os
import shutil
from collections.abc import Iterable

from torch import nn

from mfrkit.errors import InputError

_COMPILERS = ("g++", "clang++", "c++", "cl")


def compile_in_place(networks: Iterable[nn.Module]) -> None:
    """Let networks compile themselves at their first calls; names and weights stay as they are.

    The kernels are made for one batch shape. It takes about a minute, and on a processor gains
    most together with bf16, which on its own spends much time converting.

    Args:
        networks: called afterwards, always on batches of the same shape.

    Raises:
        InputError: there is no C++ compiler.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> compile_in_place([layer])
        >>> sorted(layer.state_dict())
        ['bias', 'weight']
    """
    named = os.environ.get("CXX")
    if not any(shutil.which(each) for each in ((named,) if named else _COMPILERS)):
        raise InputError("fit.compile needs a C++ compiler (g++); install one or leave it off")
    for network in networks:
        network.compile(dynamic=False)
