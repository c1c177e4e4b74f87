"""Weights two bundled models have in common are stored once and come back whole."""

from dataclasses import replace

import pytest
import torch

from mfrkit.errors import WeightsError
from mfrkit.io.checkpoints import read_header, rewrite_card
from mfrkit.models.cards import BUNDLED
from mfrkit.models.loading import load_completing
from mfrkit.models.model_files import count_parameters, read_card
from mfrkit.models.registry import load_network, save_network

SHARED = {"region.network": "region", "generator": "completion"}


@pytest.fixture(scope="module")
def completing():
    """A recogniser of completed faces, of whose parts two are bundled models."""
    recogniser = load_completing("completion", "arcface")
    return recogniser.network, recogniser.card


def test_shared_weights_are_left_out_and_found_again(tmp_path, completing):
    network, card = completing
    path = tmp_path / "both.safetensors"
    save_network(path, network, replace(card, shared=SHARED))
    names = read_header(path).shapes
    assert {name.partition(".")[0] for name in names} == {"recogniser"}
    again, card_again = load_network(str(path))
    whole = network.state_dict()
    assert list(again.state_dict()) == list(whole)
    assert all(torch.equal(whole[name], each) for name, each in again.state_dict().items())
    # What was loaded is whole, so that a student made of it is saved whole.
    assert card_again.shared == {}
    assert read_card(str(path))[0].shared == SHARED


def test_shared_parameters_are_counted(tmp_path, completing):
    network, card = completing
    path = tmp_path / "both.safetensors"
    save_network(path, network, replace(card, shared=SHARED))
    total = sum(tensor.numel() for tensor in network.state_dict().values())
    card, header, _ = read_card(str(path))
    assert count_parameters(card, header) == total


@pytest.mark.parametrize("part", ["generator", "generator.no_such_part"])
def test_weights_that_differ_are_not_left_out(tmp_path, completing, part):
    network, card = completing
    path = tmp_path / "both.safetensors"
    with pytest.raises(WeightsError, match=rf"{part}\..* is not the tensor its card says"):
        save_network(path, network, replace(card, shared={part: "region"}))
    assert not path.exists()


def test_only_bundled_models_share(tmp_path, completing):
    network, card = completing
    path = tmp_path / "both.safetensors"
    save_network(path, network, card)
    rewrite_card(path, replace(card, shared={"generator": "mine.safetensors"}).to_json())
    with pytest.raises(WeightsError, match="shares weights with mine.safetensors, which is not"):
        load_network(str(path))


def test_what_bundled_models_share_is_bundled():
    cards = [read_card(name)[0] for name in BUNDLED]
    assert {other for card in cards for other in card.shared.values()} <= set(BUNDLED)
