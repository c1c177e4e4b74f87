"""What is folded and fused for processors computes what the plain network computes."""

import numpy as np
import pytest
import torch

from mfrkit.models import onednn
from mfrkit.models.edgeface import EdgeFace
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.models.mobilefacenet import MobileFaceNet
from mfrkit.models.onednn import FusedEdgeFace, is_fusible
from mfrkit.models.recogniser import embed_faces

pytestmark = pytest.mark.skipif(not is_fusible(EdgeFace(8, "xx-small")), reason="no oneDNN on x86")


def scattered(**arguments):
    """A network none of whose parameters is near what it starts at."""
    torch.manual_seed(0)
    network = EdgeFace(16, **arguments).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1 or "temperature" in name:
                parameter.add_(torch.rand_like(parameter))
    return network


@pytest.mark.parametrize("arguments", [{"size": "xx-small"}, {"rank": 0.6}, {"size": "small"}])
def test_every_size_agrees_with_the_plain_network(arguments):
    network = scattered(**arguments)
    faces = torch.rand(3, 3, 112, 112) * 2 - 1
    with torch.inference_mode():
        expected = network(faces)
        difference = (FusedEdgeFace(network)(faces) - expected).abs().max()
    assert float(difference / expected.abs().max()) < 1e-5


def test_the_network_is_left_alone_and_not_followed():
    network, faces = scattered(size="xx-small"), torch.rand(1, 3, 112, 112)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        copy = FusedEdgeFace(network)
        first = copy(faces)
        assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
        assert all(parameter.requires_grad for parameter in network.parameters())
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(copy(faces), first)


def test_other_networks_are_not_taken():
    assert not is_fusible(MobileFaceNet())


@pytest.mark.parametrize("flip", [False, True])
def test_the_engine_takes_it(monkeypatch, flip):
    monkeypatch.setattr(onednn, "_FINE_VIEWS", 3)  # parts that do not come out even
    recogniser = load_recogniser("edgeface")
    crops = np.random.default_rng(0).integers(0, 256, (7, 112, 112, 3), np.uint8)
    with EmbedEngine(recogniser, flip=flip, workers=2) as engine:
        vectors, norms = engine(crops)
        assert any(isinstance(each, FusedEdgeFace) for each in engine._recogniser.modules())
    faces = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        expected = embed_faces(recogniser, faces, flip=flip).numpy()
    np.testing.assert_allclose(norms, np.linalg.norm(expected, axis=1), rtol=1e-4)
    np.testing.assert_allclose(vectors * norms[:, None], expected, atol=1e-4)
