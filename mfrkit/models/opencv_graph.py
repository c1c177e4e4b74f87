"""A network that OpenCV runs: its ONNX graph as bytes, so that it travels as a model file too."""

import torch
from torch import Tensor, nn


class OpenCVGraph(nn.Module):
    """Holds a graph; `mfrkit.faces.yunet` hands it to OpenCV.

    Attributes:
        graph: (N,) uint8 buffer, the bytes of the ONNX file.

    Args:
        size: N.
    """

    graph: Tensor

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.register_buffer("graph", torch.zeros(size, dtype=torch.uint8))
