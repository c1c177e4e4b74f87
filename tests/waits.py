"""Count what makes the host wait for a device: operations that hand it a number or a shape."""

import traceback

import torch
from torch.utils._python_dispatch import TorchDispatchMode

FETCHING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Waits(TorchDispatchMode):
    """Notes the line of each such operation, but those of optimisers, whose counts stay here.

    A tensor of a processor that becomes a list is none: fetch what is wanted so, and at once.
    """

    def __init__(self):
        super().__init__()
        self.lines = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        chooses = name in INDEXING and any(
            each is not None and each.dtype is torch.bool for each in args[1]
        )
        if name in FETCHING or chooses:
            frames = [each for each in traceback.extract_stack() if "/tests/" not in each.filename]
            if not any("/torch/optim/" in each.filename for each in frames):
                mine = [each for each in frames if "/mfrkit/" in each.filename]
                self.lines.append(mine[-1].line if mine else name)
        return function(*args, **(kwargs or {}))
