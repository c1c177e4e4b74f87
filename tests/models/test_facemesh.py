"""The mesh network against the published graph, and in the processor's own layout."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mfrkit.models.onednn import BlockedFaceMesh, has_blocked_layout
from mfrkit.models.registry import load_network

REFERENCE = Path(__file__).parents[1] / "data" / "facemesh_reference.safetensors"


@pytest.fixture(scope="module")
def network():
    return load_network("facemesh")[0]


@pytest.fixture(scope="module")
def reference():
    """Four faces, and what the original graph, cut to this branch, gives for them."""
    return {name: tensor.float() for name, tensor in load_file(REFERENCE).items()}


@torch.inference_mode()
def test_agrees_with_the_published_graph(network, reference):
    mesh, score = network(reference["input"])
    assert (mesh - reference["mesh"]).abs().max() < 2e-4
    assert (score - reference["score"].view(-1)).abs().max() < 2e-4


@pytest.mark.skipif(not has_blocked_layout(), reason="needs oneDNN on an x86 processor")
@torch.inference_mode()
def test_blocked_layout_gives_the_same(network, reference):
    mesh, score = BlockedFaceMesh(network)(reference["input"])
    assert (mesh - reference["mesh"]).abs().max() < 4e-4
    assert (score - reference["score"].view(-1)).abs().max() < 4e-4


def test_has_the_published_size(network):
    assert sum(p.numel() for p in network.parameters()) == 581_197


def test_mean_mesh_lies_in_the_crop_as_a_face_does(network):
    mean = network.mean
    left, right, nose, chin = mean[[33, 133]].mean(0), mean[[362, 263]].mean(0), mean[4], mean[152]
    assert 34 < left[0] < 40 < 70 < right[0] < 76
    assert abs(left[1] - right[1]) < 1
    assert left[1] < nose[1] < chin[1]
    assert nose[2] < left[2]  # nearer
