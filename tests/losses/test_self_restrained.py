"""The self-restrained triplet loss, by hand."""

import math

import pytest
import torch

from mfrkit.errors import ShapeError
from mfrkit.losses.self_restrained import self_restrained_triplet


def at(*degrees):
    """Unit vectors in the plane; two of them at an angle t are 2 - 2 cos t apart, squared."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def squared(degrees):
    return 2 - 2 * math.cos(math.radians(degrees))


def test_anchors_too_near_to_others_are_pushed():
    """d2 (60, 80 degrees) is on average below d3 (90, 120): the plain triplet loss, row by row."""
    got = self_restrained_triplet(at(30, 40), at(0, 0), at(90, 120), margin=2)
    wanted = [squared(30) - squared(60) + 2, squared(40) - squared(80) + 2]
    assert got.tolist() == pytest.approx(wanted, abs=1e-6)


def test_anchors_far_from_others_are_only_pulled():
    """d2 (120, 100 degrees) is above d3 (90, 90): mean d3 = 2 takes its place, without gradient."""
    anchor = at(-30, -10).requires_grad_()
    got = self_restrained_triplet(anchor, at(0, 0), at(90, 90), margin=2)
    assert got.tolist() == pytest.approx([squared(30), squared(10)], abs=1e-6)
    got.sum().backward()
    elsewhere = at(-30, -10).requires_grad_()
    (2 - 2 * (elsewhere * at(0, 0)).sum(1) / elsewhere.norm(dim=1)).sum().backward()
    torch.testing.assert_close(anchor.grad, elsewhere.grad)


def test_the_means_decide_not_the_rows():
    """One anchor is nearer to its negative (80 degrees), the mean of d2 is above that of d3."""
    got = self_restrained_triplet(at(10, -60), at(0, 0), at(90, 90), margin=2)
    assert got.tolist() == pytest.approx([squared(10), squared(60)], abs=1e-6)


def test_a_small_margin_lets_good_triplets_rest():
    got = self_restrained_triplet(at(-30, -10), at(0, 0), at(90, 90), margin=1)
    assert got.tolist() == [0, 0]


def test_lengths_do_not_matter_and_only_the_anchor_learns():
    a, p, n = (at(30, 40).requires_grad_(), at(0, 0).requires_grad_(), at(90, 120).requires_grad_())
    plain = self_restrained_triplet(a, p, n)
    scaled = self_restrained_triplet(3 * a, 0.2 * p, 7 * n)
    torch.testing.assert_close(plain, scaled)
    plain.sum().backward()
    assert a.grad.abs().sum() > 0
    assert p.grad is None
    assert n.grad is None


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match="differ in shape"):
        self_restrained_triplet(at(1), at(1, 2), at(1))
