"""The faster backward pass against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from mfrkit.models.iresnet import IResBlock
from mfrkit.models.prelu import PReLU, prelu


def gradients(function, x, weight, outer):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    result = function(x, weight)
    result.backward(outer)
    return result.detach(), x.grad, weight.grad


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 2, 1, 1), (2, 1, 3, 3)])
def test_values_and_gradients_are_torchs(layout, shape):
    torch.manual_seed(0)
    x, outer = (torch.randn(shape).to(memory_format=layout) for _ in range(2))
    x[0, 0, 0, 0] = 0.0
    weight = torch.randn(shape[1])
    found = gradients(prelu, x, weight, outer.contiguous())
    wanted = gradients(F.prelu, x, weight, outer)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])
    torch.testing.assert_close(found[2], wanted[2])


def test_its_own_backward_pass_is_used_where_it_pays_and_only_there():
    x = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.rand(3)
    assert "FaceByFace" in prelu(x, weight).grad_fn.name()
    assert "FaceByFace" not in prelu(x.double(), weight.double()).grad_fn.name()
    assert "FaceByFace" not in prelu(x[:, :, 1:, 1:], weight).grad_fn.name()
    with torch.no_grad():
        assert prelu(x, weight).grad_fn is None


def test_blocks_use_it_under_torchs_names():
    block = IResBlock(2, 2, 1)
    assert isinstance(block.prelu, PReLU)
    assert set(block.prelu.state_dict()) == {"weight"}
