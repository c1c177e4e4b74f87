"""The losses of regions, against sums worked by hand."""

import math

import pytest
import torch
from torch import nn

from mfrkit.errors import ShapeError
from mfrkit.losses.image import (
    border_weight,
    critic_loss,
    dice_loss,
    feature_distance,
    generator_loss,
    gradient_penalty,
    gram,
    identity_distance,
    masked_l1,
    pixel_loss,
    style_distance,
    total_variation,
)


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


def test_hinge_stops_pulling_beyond_the_margin():
    true = torch.tensor([1.5, 1.0, 0.0], requires_grad=True)
    made = torch.tensor([-2.0, -0.5], requires_grad=True)
    loss = critic_loss(true, made, "hinge")
    loss.backward()
    assert loss.item() == pytest.approx(1 / 3 + 0.5 / 2)
    assert true.grad.tolist() == pytest.approx([0, 0, -1 / 3])
    assert made.grad.tolist() == pytest.approx([0, 0.5])
    assert generator_loss(torch.tensor([1.0, 3.0])).item() == -2


def test_gradient_penalty_of_a_linear_critic():
    """Its slope is the norm of its weights inside the hole, wherever it is measured."""
    weight = torch.tensor([3.0, 4.0, 100.0], requires_grad=True)
    hole = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 3)
    true, made = torch.rand(2, 1, 1, 3), torch.rand(2, 1, 1, 3, requires_grad=True)
    penalty = gradient_penalty(
        lambda faces: (faces * weight).sum((1, 2, 3)), true, made, hole, torch.tensor([0.1, 0.8])
    )
    penalty.backward()
    assert penalty.item() == pytest.approx((5 - 1) ** 2)
    assert weight.grad.tolist() == pytest.approx([2 * 4 * 3 / 5, 2 * 4 * 4 / 5, 0])
    assert made.grad is None


def test_gradient_penalty_is_taken_between_the_two():
    seen = []

    def critic(faces):
        seen.append(faces.detach())
        return faces.square().sum((1, 2, 3))

    ones = torch.ones(1, 1, 1, 1)
    gradient_penalty(critic, 3 * ones, ones, ones, torch.tensor([0.25]))
    assert seen[0].item() == pytest.approx(1.5)


def test_l1_inside_and_outside():
    truth = torch.zeros(1, 3, 1, 4)
    picture = torch.tensor([1.0, 2.0, 5.0, 7.0]).view(1, 1, 1, 4).repeat(1, 3, 1, 1)
    hole = torch.tensor([1.0, 0.5, 0.0, 0.0]).view(1, 1, 1, 4)
    assert masked_l1(picture, truth, hole).item() == pytest.approx((1 + 1) / 1.5)
    assert masked_l1(picture, truth, 1 - hole).item() == pytest.approx((1 + 5 + 7) / 2.5)
    assert masked_l1(picture, truth, 0 * hole).item() == 0


def test_border_weight_is_a_power_of_the_chessboard_distance():
    hole = torch.zeros(1, 1, 7, 9)
    hole[0, 0, 1:6, 2:9] = 1  # reaches the right edge, beyond which nothing is known
    weight = border_weight(hole, 0.5)[0, 0]
    for row in range(7):
        for column in range(9):
            known = [(r, c) for r in range(7) for c in range(9) if not hole[0, 0, r, c]]
            distance = min(max(abs(r - row), abs(c - column)) for r, c in known)
            expected = 0.5**distance if distance else 0.0
            assert weight[row, column].item() == pytest.approx(expected)
    assert border_weight(hole, 1.0) is hole
    everything = border_weight(torch.ones(1, 1, 2, 2), 0.5)
    assert everything.isfinite().all()


def test_total_variation_stays_inside():
    picture = torch.tensor([[0.0, 1.0, 9.0], [0.5, 1.0, 9.0]]).view(1, 1, 2, 3)
    hole = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).view(1, 1, 2, 3)
    # Down: |0.5 - 0|, |1 - 1|; across: |1 - 0|, |1 - 0.5|.
    assert total_variation(picture, hole).item() == pytest.approx((0.5 + 0 + 1 + 0.5) / 4)


def test_feature_distance_is_an_angle():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(2, 2, 1, 1)
    b = torch.tensor([[5.0, 0.0], [3.0, 3.0]]).view(2, 2, 1, 1)
    assert feature_distance([a], [b]).tolist() == pytest.approx([0, 1 - 0.5**0.5], abs=1e-6)
    both = feature_distance([a, a], [b, -a])
    assert both.tolist() == pytest.approx([1, (1 - 0.5**0.5 + 2) / 2], abs=1e-6)


def test_style_forgets_where_things_are():
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    assert style_distance([a], [a.flip(3)]).tolist() == pytest.approx([0, 0], abs=1e-6)
    one, two = (torch.einsum("bchw,bdhw->bcd", x, x) / 16 for x in (a, b))
    torch.testing.assert_close(gram(a), one)
    expected = (one - two).abs().sum((1, 2)) / two.sum((1, 2))
    torch.testing.assert_close(style_distance([a], [b]), expected)


def test_identity_gradient_goes_through_the_eye_and_not_into_it():
    eye = nn.Linear(3, 2, bias=False).requires_grad_(False)
    made, true = torch.rand(2, 3, requires_grad=True), torch.rand(2, 3, requires_grad=True)
    distance = identity_distance(eye(made), eye(true))
    cosine = torch.cosine_similarity(eye(made), eye(true))
    torch.testing.assert_close(distance, 1 - cosine)
    distance.sum().backward()
    assert made.grad.abs().sum() > 0
    assert true.grad is None
    assert eye.weight.grad is None


def test_shapes_must_fit():
    with pytest.raises(ShapeError):
        identity_distance(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ShapeError):
        feature_distance([], [])
    with pytest.raises(ShapeError):
        style_distance([torch.zeros(1, 2, 3, 3)], [torch.zeros(1, 2, 3, 4)])
