"""The smooth filling of holes: what is seen stays, what is not comes from what is near."""

import pytest
import torch

from mfrkit.models.completion import smooth_filling


@pytest.fixture
def hole():
    hole = torch.zeros(1, 1, 24, 37)
    hole[:, :, 8:, 10:30] = 1
    return hole


def test_seen_pixels_stay_and_hidden_ones_have_no_influence(hole):
    torch.manual_seed(0)
    faces = torch.rand(1, 3, 24, 37)
    filled = smooth_filling(faces, hole)
    seen = (hole == 0).expand_as(faces)
    assert torch.equal(filled[seen], faces[seen])
    other = torch.where(hole > 0, torch.rand_like(faces), faces)
    assert torch.equal(smooth_filling(other, hole), filled)


def test_one_colour_fills_with_itself(hole):
    faces = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 24, 37)
    torch.testing.assert_close(smooth_filling(faces, hole), faces.contiguous())


def test_colours_come_from_the_nearest_side(hole):
    faces = torch.zeros(1, 1, 24, 37).expand(1, 3, 24, 37).clone()
    faces[..., 20:] = 1
    row = smooth_filling(faces, hole)[0, 0, 20]
    assert row[11] < 0.3 < 0.7 < row[28]
    assert (row[10:30].diff() > -0.05).all()


def test_nothing_seen_is_black(hole):
    assert not smooth_filling(torch.ones(1, 3, 8, 8), torch.ones(1, 1, 8, 8)).any()
