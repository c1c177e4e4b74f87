"""What a looker sees: maps of the recogniser, any size of face."""

import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard
from mfrkit.models.features import FaceFeatures
from mfrkit.models.iresnet import IResNet
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser


@torch.no_grad()
def test_the_maps_are_the_recognisers():
    arcface = load_recogniser("arcface")
    looker = FaceFeatures(arcface)
    faces = torch.rand(2, 3, 112, 112)
    for _ in range(2):
        seen = looker(faces)
    assert len(seen.maps) == 3
    stem = arcface.network.stem((faces - 0.5) / 0.5)
    assert torch.equal(seen.maps[0], stem)
    assert torch.equal(seen.embedding, arcface(faces))
    assert looker(torch.rand(1, 3, 224, 224)).maps[0].shape == (1, 64, 56, 56)


def test_other_recognisers():
    card = ModelCard(name="r", task="recognition", architecture="iresnet18", embedding_dim=8)
    seen = FaceFeatures(Recogniser(IResNet((1, 1, 1, 1), 8).eval(), card))
    with torch.no_grad():
        shapes = [tuple(each.shape[1:]) for each in seen(torch.rand(1, 3, 112, 112)).maps]
    assert shapes == [(64, 56, 56), (128, 28, 28), (256, 14, 14)]
    with pytest.raises(InputError, match="no feature maps"):
        FaceFeatures(Recogniser(torch.nn.Linear(2, 2), card))


def test_gradients_reach_the_faces_only():
    looker = FaceFeatures(load_recogniser("arcface")).requires_grad_(False)
    faces = torch.rand(1, 3, 112, 112, requires_grad=True)
    seen = looker(faces)
    (seen.embedding.sum() + sum(each.mean() for each in seen.maps)).backward()
    assert faces.grad.abs().sum() > 0
    assert all(p.grad is None for p in looker.parameters())
