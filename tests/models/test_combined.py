"""Several models as one: by what a face wears, side by side, or one after another."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard
from mfrkit.models.combined import (
    CombinedRecogniser,
    SideBySide,
    build_completing,
    combined_card,
    completing_card,
    side_by_side_card,
)
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser, embed_faces
from mfrkit.models.region import RegionPredictor, is_masked, load_region
from mfrkit.models.registry import build_network, save_network

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "input_size": (16, 16)}


def card(name="a", task="recognition", **more):
    return ModelCard(name=name, task=task, architecture="none", **(PLAIN | more))


class Covered(nn.Module):
    """Takes red for cover."""

    def forward(self, faces):
        return 20 * faces[:, :1] - 10


class Says(nn.Module):
    """Answers with one vector, and remembers how many faces asked for it."""

    def __init__(self, *vector):
        super().__init__()
        self.vector, self.asked = torch.tensor(vector), 0

    def forward(self, faces):
        self.asked += len(faces)
        return self.vector.expand(len(faces), -1)


def combined(unmasked, *masked):
    region = RegionPredictor(Covered(), card(task="region"))
    return CombinedRecogniser(
        region, Recogniser(unmasked, card()), [Recogniser(each, card()) for each in masked]
    )


def faces(*covered):
    """Faces that are red all over, or black."""
    pictures = torch.zeros(len(covered), 3, 16, 16)
    pictures[:, 0] = torch.tensor(covered, dtype=torch.float32).view(-1, 1, 1)
    return pictures


def test_each_face_goes_to_its_own():
    bare, worn = Says(1.0, 0.0), Says(0.0, 2.0)
    given = combined(bare, worn)(faces(1, 0, 0, 1, 0))
    assert given.tolist() == [[0, 2], [1, 0], [1, 0], [0, 2], [1, 0]]
    assert (bare.asked, worn.asked) == (3, 2)


@pytest.mark.parametrize(("covered", "asked"), [(0, (2, 0)), (1, (0, 2))])
def test_nobody_is_asked_for_nothing(covered, asked):
    bare, worn = Says(1.0, 0.0), Says(0.0, 2.0)
    combined(bare, worn)(faces(covered, covered))
    assert (bare.asked, worn.asked) == asked


def test_masked_faces_get_the_mean_direction_and_the_mean_length():
    """By hand: (1, 0) and (0, 1) between, whatever their lengths of 3 and 1, and 2 long."""
    given = combined(Says(9.0, 9.0), Says(3.0, 0.0), Says(0.0, 1.0))(faces(1))
    torch.testing.assert_close(given, torch.full((1, 2), 2**0.5))


def test_other_crops_and_other_spaces_are_refused():
    region = card("r", "region")
    with pytest.raises(InputError, match=r"crops of different sizes: r \(16, 16\), .*\(8, 8\)"):
        combined_card("c", region, card(), [card("b", input_size=(8, 8))])
    own = card("a", embedding_dim=4)
    with pytest.raises(InputError, match="embeddings of different lengths: a 4, b 5$"):
        combined_card("c", region, own, [own, card("b", embedding_dim=5)])
    with pytest.raises(InputError, match="embeddings of different lengths: a 4, a 5"):
        combined_card("c", region, card("a", embedding_dim=4), [card("a", embedding_dim=5)])


def test_the_card_names_its_parts_and_their_licences():
    region = card("r", "region", licence="MIT")
    parts = [card("b", licence="research"), card("d", licence="MIT")]
    made = combined_card("c", region, card(licence="MIT"), parts)
    assert made.licence == "MIT; research"
    assert made.source == "r; a for bare faces, b, d for masked ones"
    assert [each["name"] for each in made.arguments["masked"]] == ["b", "d"]


class Corners(nn.Module):
    """Answers with two pixels of the top row, times a length."""

    def __init__(self, length, *channels):
        super().__init__()
        self.length, self.channels = length, channels

    def forward(self, faces):
        return self.length * faces[:, self.channels, 0][:, :, (0, -1)].flatten(1)


def beside(*shares):
    parts = [Recogniser(Corners(2.0, 0), card()), Recogniser(Corners(6.0, 1, 2), card("b"))]
    return Recogniser(SideBySide(parts, shares), card("pair")).eval(), parts


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2)])
def test_the_cosine_is_the_weighted_mean_of_the_parts(flip, shares):
    """With the mirror image too, which each part averages before it is brought to length one."""
    pair, parts = beside(*shares)
    pictures = torch.rand(2, 3, 16, 16)

    def cosine(recogniser):
        a, b = torch.nn.functional.normalize(embed_faces(recogniser, pictures, flip=flip))
        return a @ b

    expected = sum(share * cosine(part) for share, part in zip(shares, parts, strict=True))
    torch.testing.assert_close(cosine(pair), expected)


def test_its_length_is_the_mean_length():
    pair, parts = beside(0.8, 0.2)
    pictures = torch.rand(3, 3, 16, 16)
    lengths = torch.stack([part.features(pictures).norm(dim=1) for part in parts]).mean(0)
    torch.testing.assert_close(pair.features(pictures).norm(dim=1), lengths)


def test_side_by_side_takes_other_spaces_but_no_other_crops():
    parts = [card(embedding_dim=4, licence="MIT"), card("b", embedding_dim=5, licence="research")]
    made = side_by_side_card("pair", parts, (2 / 3, 1 / 3))
    assert (made.embedding_dim, made.licence) == (9, "MIT; research")
    assert made.source == "mean of the cosines of a (0.667), b (0.333)"
    with pytest.raises(InputError, match="crops of different sizes"):
        side_by_side_card("pair", [card(), card("b", input_size=(8, 8))], (0.5, 0.5))


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
