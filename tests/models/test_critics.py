"""Critics: where they look, and how steep they may be."""

import torch

from mfrkit.models.critics import Critics, cut_boxes, hole_boxes


def test_boxes_reach_round_the_hole():
    hole = torch.zeros(4, 1, 40, 60)
    hole[0, 0, 10:30, 20:59] = 1
    hole[1, 0, 5, 50] = 1  # a speck gets the least box
    hole[2, 0, :, :] = 0.4  # too faint to count
    hole[3, 0, 2:12, 3:13] = hole[3, 0, 30:38, 40:50] = 1
    assert hole_boxes(hole).tolist() == [
        [20, 10, 59, 30],
        [46.5, 1.5, 54.5, 9.5],
        [0, 0, 60, 40],
        [3, 2, 50, 38],
    ]


def test_a_box_of_the_right_size_is_cut_as_it_is():
    faces = torch.rand(2, 3, 24, 32)
    boxes = torch.tensor([[4.0, 6.0, 20.0, 22.0], [16.0, 0.0, 32.0, 16.0]])
    cut = cut_boxes(faces, boxes, 16)
    torch.testing.assert_close(cut[0], faces[0, :, 6:22, 4:20], atol=1e-5, rtol=0)
    torch.testing.assert_close(cut[1], faces[1, :, :16, 16:], atol=1e-5, rtol=0)


def test_a_large_box_is_scaled():
    ramp = torch.arange(32.0).view(1, 1, 1, 32).expand(1, 1, 32, 32)
    cut = cut_boxes(ramp, torch.tensor([[0.0, 0.0, 32.0, 32.0]]), 16)
    torch.testing.assert_close(cut[0, 0, 3], torch.arange(16) * 2 + 0.5)


def test_the_local_critic_sees_the_hole_alone():
    torch.manual_seed(0)
    critics = Critics(32, 4, spectral=False).eval()
    faces, hole = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    hole[..., 20:30, 4:28] = 1
    other = faces.clone()
    other[..., :16, :] = 0
    one, two = critics(faces, hole)[0], critics(other, hole)[0]
    assert one[0] != two[0]
    assert one[1] == two[1]


def test_spectral_norm_limits_the_gain():
    torch.manual_seed(0)
    critics = Critics(32, 4, spectral=True).train()
    faces, hole = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    for _ in range(30):
        critics(faces, hole)  # each call is one step of the power iteration
    layers = [m for m in critics.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 10
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert 0.95 < largest < 1.05
