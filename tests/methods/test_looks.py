"""Squares cut out of wide crops, the way back, and where regions are moved to."""

import numpy as np
import pytest
import torch

from mfrkit.faces.geometry import warp
from mfrkit.faces.mesh import SIDE, mesh_region
from mfrkit.methods.looks import (
    WIDE,
    Jitter,
    cut,
    from_square,
    regions_of,
    to_square,
    usual_region,
)
from mfrkit.models.registry import load_network


@pytest.fixture(scope="module")
def mean():
    return load_network("facemesh")[0].mean


@pytest.fixture(scope="module")
def region(mean):
    return usual_region(mean)


def test_a_square_is_cut_as_align_cuts_it(region):
    wide = np.random.default_rng(0).integers(0, 255, (WIDE, WIDE, 3), dtype=np.uint8)
    tensor = torch.from_numpy(wide).permute(2, 0, 1)[None].float()
    ours = cut(tensor, region[None])[0].permute(1, 2, 0).numpy()
    theirs = warp(wide, region.numpy().astype(np.float64), SIDE).astype(np.float32)
    assert ours.shape == (SIDE, SIDE, 3)
    assert np.abs(ours - theirs).mean() < 1.5  # OpenCV places pixels on a grid of 1/32


def test_vertices_go_there_and_back(mean, region):
    regions = Jitter(shift=0.1, scale=0.2, turn=30).draw(region.expand(4, 2, 3))
    meshes = mean + torch.rand(4, 1, 3)
    assert (from_square(to_square(meshes, regions), regions) - meshes).abs().max() < 1e-3


def test_the_usual_region_is_that_of_the_mean_face(mean, region):
    wide = mean + torch.tensor([WIDE / 4, WIDE / 4, 0.0])
    found = regions_of(wide[None], torch.zeros(2, 3))[0]
    torch.testing.assert_close(found, region, atol=1e-3, rtol=0)


def test_a_mesh_without_extent_gets_the_usual_region(region):
    assert torch.equal(regions_of(torch.ones(1, 468, 3), region)[0], region)


def test_regions_stay_without_jitter(region):
    assert torch.allclose(Jitter().draw(region[None])[0], region, atol=1e-5)


def test_regions_lie_as_the_jitter_says(region):
    own = region.expand(4000, 2, 3)
    drawn = Jitter(0.1, -0.2, 0.3, 0.02, 0.05, 4.0).draw(own, torch.Generator().manual_seed(0))
    linear, shift = drawn[:, :, :2].double(), drawn[:, :, 2:].double()
    middle = torch.full((2, 1), (SIDE - 1) / 2, dtype=torch.float64)
    there = torch.linalg.solve(linear, middle - shift)  # of each drawn square, in the wide crop
    at = (own[0, :, :2].double() @ there + own[0, :, 2:] - middle)[..., 0] / SIDE
    larger = -(torch.linalg.vector_norm(linear[:, :, 0], dim=1) / own[0, :, 0].norm()).log()
    turn = _degrees(linear) - _degrees(own[:1, :, :2])
    assert at.mean(0).tolist() == pytest.approx([0.1, -0.2], abs=0.002)
    assert at.std(0).tolist() == pytest.approx([0.02, 0.02], abs=0.001)
    assert [float(larger.mean()), float(larger.std())] == pytest.approx([0.3, 0.05], abs=0.004)
    assert [float(turn.mean()), float(turn.std())] == pytest.approx([0, 4], abs=0.2)


def _degrees(linear):
    return torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))


def test_one_seed_one_draw(region):
    jitter, own = Jitter(shift=0.1), region.expand(3, 2, 3)
    first, again, other = (
        jitter.draw(own, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_region_agrees_with_the_one_of_align(mean):
    vertices = mean.numpy().astype(np.float64) + np.array([40, 60, 0])
    ours = regions_of(torch.from_numpy(vertices)[None], torch.zeros(2, 3))[0]
    assert np.abs(ours.numpy() - mesh_region(vertices)).max() < 1e-4
