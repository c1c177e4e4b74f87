"""Feature maps are taken from where their name says, in any layout and any form of a network."""

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError
from mfrkit.methods.tap import Tap
from mfrkit.models.mobilefacenet import MobileFaceNet
from mfrkit.models.onednn import BlockedMobileFaceNet, is_supported


def test_a_blocked_network_gives_the_map_of_the_plain_one():
    torch.manual_seed(0)
    plain = MobileFaceNet().eval()
    if not is_supported(plain):
        pytest.skip("no blocked layout on this processor")
    blocked = BlockedMobileFaceNet(plain)
    faces, maps = torch.rand(1, 3, 112, 112), []
    for network in (plain, blocked):
        tap = Tap(network, "block.11")
        with torch.no_grad():
            network(faces)
        maps.append(tap.take())
    assert maps[0].shape == (1, 128, 14, 14)
    torch.testing.assert_close(maps[1], maps[0], atol=1e-4, rtol=1e-3)


def test_a_map_is_given_once():
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    tap = Tap(network, "0")
    network(torch.rand(1, 3, 2, 2))
    tap.take()
    with pytest.raises(RuntimeError, match="not called"):
        tap.take()


@pytest.mark.parametrize(("stage", "count"), [("layer9", 0), ("0", 2)])
def test_a_stage_must_be_one_module(stage, count):
    network = nn.ModuleList([nn.Sequential(nn.Identity()), nn.Identity()])
    with pytest.raises(InputError, match=f"method.stage '{stage}': {count} modules"):
        Tap(network, stage)
