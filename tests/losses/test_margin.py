"""Each margin against its paper's formula, written out here a second time in plain numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from mfrkit.errors import InputError, ShapeError
from mfrkit.losses.margin import (
    MARGINS,
    Elastic,
    Fixed,
    MarginHead,
    add_angle,
    cosine_logits,
    create_margin,
)


def angles(*degrees):
    return torch.tensor([math.cos(math.radians(d)) for d in degrees])


def test_add_angle_is_a_cosine_of_the_sum():
    got = add_angle(angles(0.5, 30, 90, 120), 0.5)
    wanted = [math.cos(math.radians(d) + 0.5) for d in (0.5, 30, 90, 120)]
    assert got.tolist() == pytest.approx(wanted, abs=1e-5)


def test_add_angle_keeps_falling_where_the_sum_passes_pi():
    theta = torch.linspace(0.01, math.pi - 0.01, 500)
    got = add_angle(theta.cos(), 0.5)
    assert (got.diff() < 0).all()


@pytest.mark.parametrize("name", MARGINS)
def test_gradients_are_finite_where_angles_end(name):
    margin = create_margin(name)
    target = torch.tensor([1.0, -1.0, 0.3], requires_grad=True)
    margin(target).sum().backward()
    assert target.grad.isfinite().all()


def test_arcface_and_cosface_by_hand():
    target = angles(60, 60, 60)
    assert create_margin("arcface")(target)[0].item() == pytest.approx(math.cos(math.pi / 3 + 0.5))
    assert create_margin("cosface")(target)[0].item() == pytest.approx(0.15)
    assert create_margin("softmax")(target).tolist() == pytest.approx([0.5] * 3)


def test_elastic_margins_have_their_mean_and_spread():
    torch.manual_seed(0)
    target = torch.zeros(20000)  # at a right angle cos(theta + m) is -sin(m)
    drawn = -torch.asin(Elastic(0.5, 0.05)(target))
    assert drawn.mean().item() == pytest.approx(0.5, abs=2e-3)
    assert drawn.std().item() == pytest.approx(0.05, rel=0.05)
    flat = -Elastic(0.35, 0.02, angular=False)(target)
    assert flat.mean().item() == pytest.approx(0.35, abs=1e-3)


def test_elastic_plus_gives_the_hardest_faces_the_largest_margins():
    torch.manual_seed(0)
    target = torch.tensor([0.9, -0.2, 0.5, 0.1])
    margin = target - Elastic(0.35, 0.05, angular=False, sorted=True)(target)
    by_target = margin[target.argsort()]
    assert (by_target.diff() < 0).all()


def test_head_is_cross_entropy_of_scaled_penalised_cosines():
    torch.manual_seed(1)
    head = MarginHead(8, 5, Fixed(angle=0.3, cosine=0.1), scale=10.0)
    features, label = torch.randn(4, 8), torch.tensor([0, 4, 2, 2])
    cosines = F.normalize(features) @ F.normalize(head.weight).T
    for row, identity in enumerate(label.tolist()):
        angle = math.acos(cosines[row, identity].item())
        cosines[row, identity] = math.cos(angle + 0.3) - 0.1
    wanted = F.cross_entropy(10 * cosines, label)
    assert head(features, label).item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("name", MARGINS)
def test_every_head_learns_to_tell_two_people_apart(name):
    torch.manual_seed(0)
    head = MarginHead(4, 2, create_margin(name), scale=16.0)
    features = torch.nn.Parameter(torch.randn(8, 4) * 10)
    label = torch.tensor([0, 1] * 4)
    optimiser = torch.optim.Adam([features, *head.parameters()], 0.1)
    for _ in range(60):
        optimiser.zero_grad()
        head(features, label).backward()
        optimiser.step()
    assert (cosine_logits(features, head.weight).argmax(1) == label).all()


def test_mistakes_are_named():
    with pytest.raises(InputError, match="did you mean arcface"):
        create_margin("arcfac")
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(4, 5\)"):
        cosine_logits(torch.zeros(2, 3), torch.zeros(4, 5))
