"""What is done to masked faces beyond the renderer."""

import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.methods.region import DisturbOptions, disturb

NOTHING = DisturbOptions(stuff=0, patch=0, shade=0, grain=0)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    faces = torch.rand(6, 3, 112, 112, generator=generator)
    region = torch.zeros(6, 1, 112, 112)
    region[:, :, 70:, 30:80] = 1
    return faces, region


def test_nothing_asked_nothing_changed(batch):
    faces, region = disturb(*batch, NOTHING)
    assert torch.equal(faces, batch[0])
    assert torch.equal(region, batch[1])


def test_the_same_seed_draws_the_same_and_inputs_stay(batch):
    before = [each.clone() for each in batch]
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(disturb(*batch, DisturbOptions(stuff=0.5, patch=0.5)))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])
    assert all(torch.equal(a, b) for a, b in zip(before, batch, strict=True))


def test_the_region_tells_of_every_changed_pixel(batch):
    """Where the region stays 0 a patch or another stuff has changed nothing."""
    torch.manual_seed(0)
    options = DisturbOptions(stuff=1, patch=1, shade=0, grain=0)
    faces, region = disturb(*batch, options)
    bare = (region == 0).expand_as(faces)
    assert torch.equal(faces[bare], batch[0][bare])
    assert 0 <= float(faces.min()) <= float(faces.max()) <= 1
    assert bool((region >= batch[1]).all())
    covered = (batch[1] == 1).expand_as(faces)
    assert float((faces != batch[0])[covered].float().mean()) > 0.95


def test_patches_differ_in_place_and_size(batch):
    torch.manual_seed(0)
    _, region = disturb(batch[0], torch.zeros_like(batch[1]), DisturbOptions(patch=1))
    area = region.flatten(1).mean(1)
    assert float(area.min()) > 0.003
    assert float(area.max()) < 0.45
    assert float(area.std()) > 0.02


def test_refuses_what_is_no_share():
    with pytest.raises(InputError, match=r"disturb\.patch must be from 0 to 1"):
        DisturbOptions(patch=1.5)
