"""Compiled networks, and the faster backward pass, against torch's own."""

import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mfrkit.errors import InputError
from mfrkit.methods.maskinv import Tap
from mfrkit.models.device import PReLU, compile_in_place, prelu
from mfrkit.models.iresnet import IResBlock


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_values_gradients_and_tapped_maps_are_those_of_the_plain_network():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.Flatten())
    compiled = copy.deepcopy(plain)
    results = []
    for network in (plain, compiled):
        tap = Tap(network, "1")
        if network is compiled:
            compile_in_place([network])
        features = network(torch.ones(2, 3, 8, 8))
        maps = tap.take()
        (features.sum() + maps.square().sum()).backward()
        results.append([features, maps, *(p.grad for p in network.parameters())])
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=1e-4)


def test_a_missing_compiler_is_an_error_of_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"fit.compile needs a C\+\+ compiler"):
        compile_in_place([nn.Linear(2, 2)])
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"fit.compile needs a C\+\+ compiler"):
        compile_in_place([nn.Linear(2, 2)])


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
