"""The losses of regions, against sums worked by hand."""

import math

import pytest
import torch

from mfrkit.errors import ShapeError
from mfrkit.losses.image import dice_loss, pixel_loss


def logits_of(*shares):
    """Return the (1, 1, 1, N) logits of predicted shares."""
    return torch.tensor(shares, dtype=torch.float64).logit().view(1, 1, 1, -1)


def region_of(*shares):
    return torch.tensor(shares, dtype=torch.float64).view(1, 1, 1, -1)


def test_pixel_loss_by_hand():
    found = pixel_loss(logits_of(0.8, 0.4), region_of(1.0, 0.25))
    first = -math.log(0.8)
    second = -0.25 * math.log(0.4) - 0.75 * math.log(0.6)
    assert float(found) == pytest.approx((first + second) / 2)


def test_dice_by_hand():
    """Overlap 0.8 + 0.1; squares 0.64 + 0.04 + 0.25 and 1 + 0.25."""
    found = dice_loss(logits_of(0.8, 0.2, 0.5), region_of(1.0, 0.5, 0.0))
    assert float(found) == pytest.approx(1 - (2 * 0.9 + 1) / (0.93 + 1.25 + 1))


def test_dice_is_a_mean_over_faces():
    right, wrong = logits_of(1 - 1e-12, 1e-12), logits_of(1e-12, 1 - 1e-12)
    region = region_of(1.0, 0.0)
    both = dice_loss(torch.cat([right, wrong]), torch.cat([region, region]))
    assert float(both) == pytest.approx((0 + (1 - 1 / 3)) / 2)


def test_an_empty_region_predicted_empty_costs_nothing():
    assert float(dice_loss(torch.full((2, 1, 4, 4), -40.0), torch.zeros(2, 1, 4, 4))) == 0
    false_alarm = dice_loss(torch.full((1, 1, 4, 4), 40.0), torch.zeros(1, 1, 4, 4))
    assert float(false_alarm) == pytest.approx(1 - 1 / 17)


@pytest.mark.parametrize("loss", [pixel_loss, dice_loss])
def test_gradients_and_shapes(loss):
    logits = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    region = torch.rand(2, 1, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, region), logits)
    with pytest.raises(ShapeError, match="one shape"):
        loss(logits, region[:1])
