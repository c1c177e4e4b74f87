"""MEER's network: it begins as the teacher, leaks nothing, and serves three commands."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError
from mfrkit.io.checkpoints import read_header, rewrite_card
from mfrkit.models.cards import ModelCard
from mfrkit.models.combined import build_completing
from mfrkit.models.loading import load_recogniser
from mfrkit.models.meer import Decoder, Decoupled, MeerNet, RegionHead
from mfrkit.models.onednn import BlockedMobileFaceNet, is_supported
from mfrkit.models.region import load_region
from mfrkit.models.registry import (
    build_network,
    load_for_task,
    load_network,
    read_card,
    save_network,
)

CHANNELS = (4, 6, 8)
CARD = ModelCard(
    name="meer",
    task="recognition",
    also=("completion", "region"),
    architecture="meer",
    arguments={"backbone": "mobilefacenet", "arguments": {"embedding_dim": 8}},
    embedding_dim=8,
)


class Forbidden(nn.Module):
    def forward(self, *arguments):
        raise AssertionError("this branch must not run")


@pytest.fixture
def parts():
    """Maps of two 32x32 faces, and an attention that is 0 in the lower right corner."""
    torch.manual_seed(0)
    maps = [torch.randn(2, c, side, side) for c, side in zip(CHANNELS, (16, 8, 4), strict=True)]
    attention = torch.rand(2, CHANNELS[-1], 4, 4) * 0.5 + 0.2
    attention[:, :, 2:, 2:] = 0
    return Decoupled(maps, attention)


def changed(parts, covered):
    """The same maps, with noise where they are covered, or where they are not."""
    maps = []
    for each in parts.maps:
        half = each.shape[2] // 2
        noise = torch.zeros_like(each, dtype=torch.bool)
        noise[:, :, half:, half:] = True
        maps.append(torch.where(noise == covered, torch.randn_like(each) * 9, each))
    return parts._replace(maps=maps)


def shaken(module):
    """Give every parameter a value, also those that begin at 0."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.3)
    return module.eval()


def test_untrained_it_is_the_backbone_alone():
    teacher = load_recogniser("arcface").network
    network = MeerNet().eval()
    network.identity.backbone.load_state_dict(teacher.state_dict())
    faces = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(network(faces), teacher(faces), atol=1e-4, rtol=1e-5)


def test_identity_and_mask_part_make_up_the_whole(parts):
    for identity, mask, whole in zip(parts.identity(), parts.mask(), parts.maps, strict=True):
        torch.testing.assert_close(identity + mask, whole)
    bare = parts._replace(attention=None)
    assert bare.identity() is bare.mask() is bare.maps


def test_finer_maps_are_weakened_by_the_mean_over_channels():
    fine, coarse = torch.ones(1, 1, 4, 4), torch.ones(1, 2, 2, 2)
    attention = torch.tensor([[[[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.5], [0.25, 0.0]]]])
    weak = Decoupled([fine, coarse], attention).identity()[0]
    wanted = [[0, 0, 0.75, 0.75], [0, 0, 0.75, 0.75], [0.375, 0.375, 0, 0], [0.375, 0.375, 0, 0]]
    assert weak[0, 0].tolist() == wanted


@torch.no_grad()
def test_what_is_taken_for_mask_does_not_leak_into_the_drawing(parts):
    decoder = shaken(Decoder(CHANNELS, (8, 8, 8)))
    filled = torch.full((2, 3, 32, 32), 0.5)
    before = decoder(parts, filled)
    assert torch.equal(decoder(changed(parts, covered=True), filled), before)
    assert not torch.equal(decoder(changed(parts, covered=False), filled), before)


@torch.no_grad()
def test_what_is_identity_does_not_leak_into_the_region(parts):
    head = shaken(RegionHead(CHANNELS, (8, 8, 8)))
    identity = parts._replace(attention=1 - parts.attention)
    before = head(identity)
    assert torch.equal(head(changed(identity, covered=True)), before)
    assert not torch.equal(head(changed(identity, covered=False)), before)


@torch.no_grad()
def test_the_first_drawing_is_the_smooth_filling(parts):
    filled = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(Decoder(CHANNELS)(parts, filled), filled, atol=0.0101, rtol=0)


def test_embedding_runs_the_identity_branch_only():
    network = MeerNet().eval()
    network.region = network.decoder = Forbidden()
    assert network(torch.zeros(1, 3, 112, 112)).shape == (1, 192)


@pytest.mark.skipif(not is_supported(MeerNet()), reason="oneDNN's blocked layout is for x86")
def test_the_fast_path_gives_the_same():
    network = MeerNet()
    shaken(network.identity.attention)
    faces = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.inference_mode():
        fast, plain = BlockedMobileFaceNet(network)(faces), network.eval()(faces)
    torch.testing.assert_close(fast, plain, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("switch", ["decouple", "synthesise"])
def test_parts_can_be_left_out(switch):
    network = build_network("meer", {switch: False}).eval()
    assert network(torch.zeros(1, 3, 112, 112)).shape == (1, 192)
    left = {name.split(".")[1] for name in network.state_dict() if name.startswith("identity.")}
    assert ("attention" in left) == (switch != "decouple")
    assert any(name.startswith("decoder") for name in network.state_dict()) == (
        switch != "synthesise"
    )


def test_a_network_without_decoder_does_not_draw():
    network = MeerNet(synthesise=False)
    parts = Decoupled([], None)
    with pytest.raises(InputError, match="cannot draw"):
        network.draw(parts, torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))


def test_other_backbones():
    with torch.device("meta"):
        network = build_network("meer", {"backbone": "iresnet18"}).eval()
        faces = torch.zeros(1, 3, 112, 112)
        embedding, parts = network.identity(faces)
        assert embedding.shape == (1, 512)
        assert network.region(parts).shape == (1, 1, 112, 112)
        assert network.decoder(parts, faces).shape == faces.shape
    with pytest.raises(InputError, match="region: is no backbone for meer"):
        MeerNet("region")


def test_half_precision_fits_a_small_file():
    assert sum(p.numel() for p in MeerNet().parameters()) * 2 < 8e6


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "meer.safetensors"
    network = build_network("meer", CARD.arguments)
    shaken(network.decoder.picture)
    save_network(path, network, CARD)
    return path


@torch.no_grad()
def test_one_file_recognises_completes_and_finds_regions(file):
    faces = torch.rand(1, 3, 112, 112)
    region = torch.zeros(1, 1, 112, 112)
    region[:, :, 60:90, 30:80] = 1
    network, card = load_network(str(file))
    assert card.tasks == ("recognition", "completion", "region")
    normalised = faces * 2 - 1
    embedding, parts = network.identity(normalised)
    recogniser = load_recogniser(str(file))
    torch.testing.assert_close(recogniser.features(faces), embedding)
    found = load_region(str(file))(faces)
    torch.testing.assert_close(found, network.region(parts).sigmoid(), atol=1e-4, rtol=1e-4)
    generator, _ = load_for_task(str(file), "completion")
    made = generator(faces, region)
    hole = generator.hole(region)
    picture = network.draw(parts, faces, hole)
    torch.testing.assert_close(made[:, :, 60:90, 30:80], picture[:, :, 60:90, 30:80])
    assert torch.equal(made[:, :, :58], faces[:, :, :58])
    assert torch.equal(generator(faces, torch.zeros_like(region)), faces)
    assert generator.encode(faces, region).shape == (1, 128, 14, 14)


def test_a_task_it_does_not_do(file):
    with pytest.raises(InputError, match="is for recognition, completion, region, not detection"):
        load_for_task(str(file), "detection")


def test_cards_without_further_tasks_stay_readable(file):
    old = read_header(file).card
    del old["also"]
    rewrite_card(file, old)
    assert read_card(str(file))[0].tasks == ("recognition",)
    with pytest.raises(InputError, match="is for recognition, not region"):
        load_region(str(file))


def test_it_can_be_part_of_another_model(file):
    """De-occlusion keeps region predictor, generator and recogniser in one file."""
    card = read_card(str(file))[0].to_json()
    network = build_completing(card, card, card).eval()
    names = list(network.state_dict())
    assert len(names) == 3 * len(MeerNet().state_dict())
    with torch.no_grad():
        assert network(torch.rand(1, 3, 112, 112)).shape == (1, 8)


def test_cards_refuse_unknown_further_tasks():
    with pytest.raises(Exception, match="unknown task 'poetry'"):
        ModelCard.from_json(replace(CARD, also=("poetry",)).to_json())
