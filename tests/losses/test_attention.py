"""Attention maps and their distance by hand."""

import numpy as np
import pytest
import torch

from mfrkit.errors import ShapeError
from mfrkit.losses.attention import attention_distance, attention_map


def test_the_distance_is_the_papers():
    """Eq. 2 of arXiv:1612.03928 with p = 2, in numpy, place by place."""
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4, 5, 6), torch.randn(3, 7, 5, 6)
    for face, found in enumerate(attention_distance(student, teacher).tolist()):
        flat = []
        for maps in (student[face].numpy(), teacher[face].numpy()):
            energy = np.array([(maps[:, y, x] ** 2).sum() for y in range(5) for x in range(6)])
            flat.append(energy / np.sqrt((energy**2).sum()))
        assert found == pytest.approx(np.sqrt(((flat[0] - flat[1]) ** 2).sum()), rel=1e-5)


def test_it_does_not_depend_on_how_strong_features_are():
    maps = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(attention_map(5 * maps), attention_map(maps))


def test_equal_maps_have_a_gradient_and_the_teacher_none():
    student = torch.rand(2, 3, 4, 4, requires_grad=True)
    teacher = student.detach().clone().requires_grad_()
    attention_distance(student, teacher).sum().backward()
    assert student.grad.isfinite().all()
    assert teacher.grad is None


def test_maps_of_another_size_are_refused():
    with pytest.raises(ShapeError, match="feature maps differ in size"):
        attention_distance(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 8, 8))
