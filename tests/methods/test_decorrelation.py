"""How much two parts of a feature map have in common, by hand."""

import pytest
import torch

from mfrkit.errors import ShapeError
from mfrkit.methods.meer import decorrelation


def test_the_angle_between_means_by_hand():
    """Means (2, 1) and (0, 3): the cosine is 3 / (sqrt(5) * 3)."""
    one = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
    other = torch.tensor([[[[5.0, -5.0]], [[2.0, 4.0]]]])
    assert decorrelation(one, other).item() == pytest.approx(5**-0.5)
    assert decorrelation(one, -other).item() == pytest.approx(5**-0.5)
    assert decorrelation(one, 7 * one).item() == pytest.approx(1)


def test_a_part_that_is_empty_has_nothing_in_common():
    empty = torch.zeros(1, 2, 1, 2, requires_grad=True)
    loss = decorrelation(torch.ones(1, 2, 1, 2), empty)
    loss.sum().backward()
    assert loss.item() == 0
    assert empty.grad.isfinite().all()


def test_parts_of_different_shape():
    with pytest.raises(ShapeError, match="parts differ"):
        decorrelation(torch.ones(1, 2, 1, 2), torch.ones(1, 2, 2, 2))
