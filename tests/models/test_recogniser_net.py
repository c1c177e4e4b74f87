"""Normalisation, unit length, flip averaging, and the shapes that are refused."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.models.cards import ModelCard
from mfrkit.models.iresnet import IResNet
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import FaceFeatures, Recogniser, embed_faces


class FirstPixel(nn.Module):
    """A network whose features are the channels of the top left pixel."""

    def forward(self, x):
        return x[:, :, 0, 0]


def recogniser(**fields):
    card = ModelCard(
        name="stub", task="recognition", architecture="none", input_size=(2, 4), embedding_dim=3
    )
    return Recogniser(FirstPixel(), replace(card, **fields)).eval()


def faces_with_first_pixel(*pixel):
    faces = torch.zeros(1, 3, 2, 4)
    faces[0, :, 0, 0] = torch.tensor(pixel)
    return faces


def test_mean_and_std_by_hand():
    model = recogniser(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    features = model.features(faces_with_first_pixel(1.0, 0.5, 1.0))
    assert features.tolist() == [[1.0, 1.0, 0.5]]


def test_bgr_is_swapped_after_normalising_in_rgb():
    model = recogniser(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0), colour="BGR")
    features = model.features(faces_with_first_pixel(1.0, 0.5, 1.0))
    assert features.tolist() == [[0.5, 1.0, 1.0]]


def test_input_is_left_alone():
    faces = torch.rand(1, 3, 2, 4)
    before = faces.clone()
    recogniser()(faces)
    assert torch.equal(faces, before)


def test_forward_is_unit_norm():
    vector = recogniser(mean=(0.0,) * 3, std=(1.0,) * 3)(faces_with_first_pixel(0.0, 3.0, 4.0))
    assert vector.tolist() == [[0.0, pytest.approx(0.6), pytest.approx(0.8)]]


def test_flip_averages_with_the_mirror_image():
    faces = faces_with_first_pixel(1.0, 1.0, 1.0)
    faces[0, :, 0, -1] = torch.tensor([0.0, 0.5, 1.0])
    model = recogniser(mean=(0.0,) * 3, std=(1.0,) * 3)
    assert embed_faces(model, faces, flip=True).tolist() == [[0.5, 0.75, 1.0]]
    assert embed_faces(model, faces, flip=False).tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    "faces",
    [
        torch.zeros(1, 3, 2, 4, dtype=torch.uint8),
        torch.zeros(3, 2, 4),
        torch.zeros(1, 1, 2, 4),
        torch.zeros(1, 2, 4, 3),
        torch.zeros(1, 3, 4, 2),
    ],
    ids=["bytes", "no batch", "grey", "channels last", "transposed"],
)
def test_wrong_faces_are_refused(faces):
    with pytest.raises(ShapeError, match="stub: expected"):
        recogniser()(faces)


def test_tensors_are_the_networks_alone():
    model = load_recogniser("arcface")
    assert all(name.startswith("network.") for name in model.state_dict())


def test_arcface_normalises_as_its_source_says():
    """(v - 127.5) / 127.5 of 8-bit values."""
    model = load_recogniser("arcface")
    levels = torch.randint(0, 256, (1, 3, 112, 112), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.network((levels - 127.5) / 127.5)
        torch.testing.assert_close(model.features(levels / 255), expected, rtol=1e-4, atol=1e-4)


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
