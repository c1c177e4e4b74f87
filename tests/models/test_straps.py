"""Straps on drawn predictions."""

import pytest
import torch

from mfrkit.models.region import find_straps


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
