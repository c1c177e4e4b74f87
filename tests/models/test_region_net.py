"""The region network and what is made of its answers."""

import numpy as np
import pytest
import torch
from torch import nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.models.cards import ModelCard
from mfrkit.models.region import (
    MASKED_AREA,
    RegionNet,
    RegionPredictor,
    covered_share,
    find_straps,
    is_masked,
    load_region,
)
from mfrkit.models.registry import save_network

CARD = ModelCard(name="region", task="region", architecture="region")


class Says(nn.Module):
    """Give one logit everywhere."""

    def __init__(self, logit):
        super().__init__()
        self.logit = logit

    def forward(self, faces):
        return torch.full_like(faces[:, :1], self.logit)


def test_it_is_small():
    count = sum(p.numel() for p in RegionNet().parameters())
    assert count < 500_000
    assert 2 * count < 1_500_000  # bytes in half precision


@pytest.mark.parametrize("size", [(112, 112), (224, 224), (96, 128)])
def test_an_answer_for_every_pixel(size):
    assert RegionNet((4, 8, 8)).eval()(torch.rand(2, 3, *size)).shape == (2, 1, *size)


def test_gradients_reach_every_parameter():
    network = RegionNet((4, 8, 16))
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_a_file_gives_the_same_answers(tmp_path):
    torch.manual_seed(0)
    network = RegionNet((4, 8)).eval()
    card = ModelCard(
        name="mine", task="region", architecture="region", arguments={"widths": [4, 8]}
    )
    save_network(tmp_path / "r.safetensors", network, card)
    faces = torch.rand(1, 3, 112, 112)
    loaded = load_region(str(tmp_path / "r.safetensors"))
    wanted = network(faces * 2 - 1).sigmoid()
    assert torch.allclose(loaded(faces), wanted, atol=1e-6)


def test_models_for_other_tasks_are_refused():
    with pytest.raises(InputError, match="is for recognition, not region"):
        load_region("arcface")


def test_other_sizes_and_doubts():
    predictor = RegionPredictor(Says(float(np.log(0.2 / 0.8))), CARD)
    assert not predictor.find(torch.rand(1, 3, 224, 224)).any()
    for sure, covered in ((0.6, 0.7), (0.9, 1.0)):
        predictor = RegionPredictor(Says(float(np.log(sure / (1 - sure)))), CARD)
        found = predictor.find(torch.rand(1, 3, 224, 224))
        assert found.shape == (1, 1, 224, 224)
        assert torch.allclose(found, torch.tensor(covered))
    with pytest.raises(ShapeError, match="expected faces"):
        predictor(torch.rand(1, 3, 224, 224))


def test_the_decision_counts_pixels():
    region = torch.zeros(3, 1, 10, 10)
    limit = round(100 * MASKED_AREA)
    region[0].view(-1)[: limit - 1] = 1
    region[1].view(-1)[:limit] = 0.6
    region[2] = 0.4
    assert covered_share(region).tolist() == pytest.approx([(limit - 1) / 100, limit / 100, 0])
    assert is_masked(region).tolist() == [False, True, False]


@pytest.fixture
def mask():
    """A predictor that is sure of a mask, in a crop of 112."""
    predicted = torch.zeros(1, 1, 112, 112)
    predicted[..., 70:, 30:80] = 0.95
    return predicted


def test_a_mask_alone_has_no_straps(mask):
    assert not find_straps(mask).any()
    assert not find_straps(torch.zeros(2, 1, 112, 112)).any()


def test_a_faint_line_from_the_mask_is_a_strap_and_a_loose_one_is_not(mask):
    for step in range(25):  # slanting, two pixels wide
        mask[..., 69 - step, 78 + step // 2 : 80 + step // 2] = 0.2
    mask[..., 40:60, 15:17] = 0.2
    found = find_straps(mask)[0, 0]
    assert all(found[69 - step, 78 + step // 2] == 1 for step in range(2, 25))
    assert not found[:, :29].any(), "it hangs on nothing"
    assert not found[:40].any()


def test_a_broad_shade_beside_the_mask_is_none(mask):
    mask[..., 45:70, 40:60] = 0.3
    found = find_straps(mask)[0, 0]
    assert not found[46:69, 42:58].any()


def test_faces_do_not_disturb_each_other(mask):
    mask[..., 50:70, 60:62] = 0.2
    both = find_straps(torch.cat([mask, torch.zeros_like(mask)]))
    assert torch.equal(both[:1], find_straps(mask))
    assert both[0].any()
    assert not both[1].any()
