"""A compiled network computes what the plain one does; without a compiler the user is told."""

import copy
import shutil

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError
from mfrkit.methods.maskinv import Tap
from mfrkit.models.device import compile_in_place


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_values_gradients_and_tapped_maps_are_those_of_the_plain_network():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.Flatten(), nn.Linear(144, 2))
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
