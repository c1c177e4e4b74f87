"""The port against what the network it was taken from computes."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mfrkit.models.mobilefacenet import MobileFaceNet, Unit
from mfrkit.models.onednn import BlockedMobileFaceNet, is_supported
from mfrkit.models.registry import load_network

# Four pictures of noise in [-1, 1], and the embeddings the original TFLite file gives for them.
REFERENCE = Path(__file__).parent.parent / "data/mobilefacenet_arcface_reference.safetensors"


@pytest.fixture(scope="module")
def reference():
    return load_file(REFERENCE)


@pytest.fixture(scope="module")
def network():
    return load_network("arcface")[0]


def difference(network, original, reference):
    with torch.inference_mode():
        return (network(reference["input"]) - original(reference["input"])).abs().max().item()


def test_agrees_with_the_original(network, reference):
    """As far as weights rounded to half precision can: within 0.0032 radians, measured 0.0027.

    Another stride, padding or activation anywhere turns the embedding by far more.
    """
    with torch.inference_mode():
        given = network(reference["input"]).double()
    cosine = torch.cosine_similarity(given, reference["embedding"].double())
    assert float(cosine.min()) > 1 - 5e-6


def test_agrees_in_channels_last(network, reference):
    copied = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert difference(copied, network, reference) < 5e-5


def test_blocked_layout_agrees_with_the_original(network, reference):
    if not is_supported(network):
        pytest.skip("needs an x86 processor and oneDNN")
    assert difference(BlockedMobileFaceNet(network), network, reference) < 5e-5


def test_blocked_copy_leaves_the_network_alone(network):
    if not is_supported(network):
        pytest.skip("needs an x86 processor and oneDNN")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    BlockedMobileFaceNet(network)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_size_and_names():
    network = MobileFaceNet()
    names = set(network.state_dict())
    assert sum(p.numel() for p in network.parameters()) == 1_292_992
    assert {"stem.0.weight", "block.00.1.prelu", "block.14.2.bias", "head.3.weight"} <= names
    assert not {"stem.2.prelu", "block.03.2.prelu", "head.1.prelu", "block.15.0.weight"} & names


@pytest.mark.parametrize("dim", [64, 512])
def test_embedding_width_is_free(dim):
    network = MobileFaceNet(embedding_dim=dim).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 112, 112)).shape == (1, dim)


def test_uneven_padding_adds_below_and_right():
    """By hand: stride 2 on 4x4, 3x3 kernel of ones; windows begin at 0 and 2, not at -1 and 1."""
    unit = Unit(1, 1, 3, stride=2, prelu=False)
    torch.nn.init.ones_(unit.weight)
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = [
        [0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10, 2 + 3 + 6 + 7 + 10 + 11],
        [8 + 9 + 10 + 12 + 13 + 14, 10 + 11 + 14 + 15],
    ]
    assert unit(picture)[0, 0].tolist() == expected


def test_prelu_slope_is_per_channel():
    unit = Unit(2, 2, depthwise=True)
    with torch.no_grad():
        unit.weight.fill_(1)
        unit.prelu.copy_(torch.tensor([0.5, -2.0]))
    assert unit(torch.full((1, 2, 1, 1), -3.0)).flatten().tolist() == [-1.5, 6.0]


def test_fresh_network_trains():
    torch.manual_seed(0)
    network = MobileFaceNet(32)
    faces = torch.rand(2, 3, 112, 112)
    output = network(faces)
    assert 1e-3 < output.std().item() < 1e3  # neither vanishes nor explodes without batch norm
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
