"""Region predictor, generator and recogniser as one network and one file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard
from mfrkit.models.completing import build_completing, completing_card
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser, embed_faces
from mfrkit.models.region import is_masked, load_region
from mfrkit.models.registry import build_network, save_network

REGION = ModelCard(name="r", task="region", architecture="region", colour="BGR")
GENERATOR = ModelCard(name="c", task="completion", architecture="completion-small")
RECOGNISER = ModelCard(
    name="a",
    task="recognition",
    architecture="mobilefacenet",
    arguments={"embedding_dim": 24},
    embedding_dim=24,
    mean=(0.4, 0.5, 0.6),
)


@pytest.fixture(scope="module")
def recogniser():
    torch.manual_seed(0)
    card = completing_card(REGION, GENERATOR, RECOGNISER)
    network = build_completing(**card.arguments)
    torch.nn.init.normal_(network.generator.picture.weight, std=0.1)
    torch.nn.init.constant_(network.region.network.head[0].bias, 0.3)
    return Recogniser(network, card).eval()


@torch.no_grad()
def test_one_file_holds_all_three(recogniser, tmp_path):
    path = tmp_path / "m.safetensors"
    save_network(path, recogniser.network, recogniser.card)
    again = load_recogniser(str(path))
    assert again.network.region.card.colour == "BGR"
    assert again.network.recogniser.card.mean == (0.4, 0.5, 0.6)
    faces = torch.rand(2, 3, 112, 112)
    assert torch.equal(again(faces), recogniser(faces))


@torch.no_grad()
def test_the_engine_computes_the_same(recogniser):
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    faces = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with EmbedEngine(recogniser, flip=False, workers=1) as engine:
        found = torch.from_numpy(engine(crops).vectors)
    torch.testing.assert_close(found, recogniser(faces), atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_a_face_without_mask_is_left_as_it_is(recogniser):
    network, faces = recogniser.network, torch.rand(2, 3, 112, 112)
    assert network.region.cover(faces).any()
    assert not torch.equal(network.complete(faces), faces)
    nothing = torch.zeros(2, 1, 112, 112)
    assert torch.equal(network(faces, nothing), network.recogniser.features(faces))
    bias = network.region.network.head[0].bias
    before = bias.clone()
    bias.fill_(-50.0)
    assert torch.equal(network.complete(faces), faces)
    bias.copy_(before)


def test_parts_must_fit_together():
    with pytest.raises(InputError, match="different sizes"):
        completing_card(REGION, replace(GENERATOR, input_size=(224, 224)), RECOGNISER)
    with pytest.raises(InputError, match="no completion generator"):
        build_completing(REGION.to_json(), RECOGNISER.to_json(), RECOGNISER.to_json())


@torch.no_grad()
def test_two_names_with_a_plus_see_completed_faces(tmp_path):
    torch.manual_seed(0)
    widths = {"widths": [8, 8, 8, 8], "heads": 2}
    network = build_network("completion-small", widths).eval()
    path = tmp_path / "tiny.safetensors"
    save_network(path, network, replace(GENERATOR, name="tiny", arguments=widths))
    both = load_recogniser(f"{path}+arcface")
    assert (both.card.name, both.card.embedding_dim) == ("tiny+arcface", 192)
    assert both.card.sha256 != load_recogniser("arcface").card.sha256
    faces = torch.rand(2, 3, 112, 112)
    region = load_region("region").find(faces)
    region = region * is_masked(region).view(-1, 1, 1, 1)
    wanted = load_recogniser("arcface")(network(faces, region))
    torch.testing.assert_close(both(faces), wanted)
    with pytest.raises(InputError, match="is for recognition, not completion"):
        load_recogniser("arcface+arcface")


@torch.no_grad()
def test_the_mirror_image_is_that_of_the_completed_face(recogniser):
    faces = torch.rand(2, 3, 112, 112)
    completed = recogniser.network.complete(faces)
    features = recogniser.network.recogniser.features
    wanted = (features(completed) + features(completed.flip(3))) / 2
    torch.testing.assert_close(embed_faces(recogniser, faces), wanted, atol=1e-5, rtol=1e-4)
