"""Relations against loops over pairs and triplets."""

import numpy as np
import pytest
import torch

from mfrkit.errors import ShapeError
from mfrkit.losses.relation import (
    pair_loss,
    pair_relations,
    template_distance,
    triplet_loss,
    triplet_relations,
)


@pytest.fixture
def faces():
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(3))


def smooth_l1(a, b):
    d = np.abs(a - b)
    return np.where(d < 1, d**2 / 2, d - 0.5).mean()


def pairs_by_loop(x):
    n = len(x)
    d = np.array([[np.linalg.norm(x[i] - x[j]) for j in range(n)] for i in range(n)])
    return d / d[~np.eye(n, dtype=bool)].mean()


def angles_by_loop(x):
    n = len(x)
    out = np.zeros((n, n, n))
    for j in range(n):
        for i in range(n):
            for k in range(n):
                if len({i, j, k}) == 3:
                    u, v = x[i] - x[j], x[k] - x[j]
                    out[j, i, k] = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    return out


def test_relations_by_loop(faces):
    x = faces.double().numpy()
    np.testing.assert_allclose(pair_relations(faces).numpy(), pairs_by_loop(x), atol=1e-5)
    np.testing.assert_allclose(triplet_relations(faces).numpy(), angles_by_loop(x), atol=1e-5)


def test_losses_by_loop(faces):
    teacher = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    x, y = faces.double().numpy(), teacher.double().numpy()
    assert pair_loss(faces, teacher).item() == pytest.approx(
        smooth_l1(pairs_by_loop(x), pairs_by_loop(y)), rel=1e-4
    )
    assert triplet_loss(faces, teacher).item() == pytest.approx(
        smooth_l1(angles_by_loop(x), angles_by_loop(y)), rel=1e-4
    )


def test_relations_do_not_see_size_turn_or_shift(faces):
    turn = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(5)))[0]
    moved = 3 * faces @ turn + 2
    assert pair_loss(moved, faces).item() == pytest.approx(0, abs=1e-9)
    assert triplet_loss(moved, faces).item() == pytest.approx(0, abs=1e-9)


def test_gradients_are_finite_for_twins_and_stay_with_the_student(faces):
    student = faces.clone()
    student[1] = student[0]
    student.requires_grad_()
    teacher = faces.clone().requires_grad_()
    loss = pair_loss(student, teacher) + triplet_loss(student, teacher)
    loss = loss + template_distance(student, teacher).sum()
    loss.backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_mse_is_the_papers_mean_over_coordinates(faces):
    other = faces.roll(1, 0)
    a, b = torch.nn.functional.normalize(faces), torch.nn.functional.normalize(other)
    wanted = (a - b).square().mean(1)
    torch.testing.assert_close(template_distance(faces, other, "mse"), wanted)


def test_shapes_are_checked(faces):
    with pytest.raises(ShapeError, match="templates differ"):
        template_distance(faces, faces[:3])
    with pytest.raises(ShapeError, match="relations need"):
        pair_loss(faces, faces[:3])
