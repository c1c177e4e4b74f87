"""Gated convolution: a convolution that learns which of its outputs to let through, where."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedConv(nn.Module):
    """Filter, and multiply by a learned gate between 0 and 1: pixels of a hole need not count.

    Paper:
        Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019,
        arXiv:1806.03589, section 3.1. The gate is a 1x1 convolution as in Yi et al., "Contextual
        Residual Aggregation", CVPR 2020, arXiv:2005.09704, section 3.3, which costs a ninth.
        Differs: where input and output have the same shape, the input is added.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: 1, or 2 for even sides.
        dilation: distance between the taps of the 3x3 filter.

    Example:
        >>> GatedConv(3, 8, stride=2)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.filter = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation)
        self.gate = nn.Conv2d(inputs, outputs, 1, stride)
        self.residual = stride == 1 and inputs == outputs
        # An open gate lets half through at first; without this the signal dies out with depth. What
        # is only added to its input begins small.
        nn.init.kaiming_normal_(self.filter.weight, nonlinearity="relu")
        with torch.no_grad():
            self.filter.weight.mul_(0.5 if self.residual else 2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = F.elu(self.filter(x)) * torch.sigmoid(self.gate(x))
        return x + y if self.residual else y
