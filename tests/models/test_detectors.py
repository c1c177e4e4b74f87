"""The three networks against the same networks computed window by window, without convolutions."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import mfrkit
from mfrkit.models.detectors import MTCNN

WEIGHTS = Path(mfrkit.__file__).parent / "data" / "weights" / "mtcnn.safetensors"


@pytest.fixture(scope="module")
def networks():
    networks = MTCNN()
    networks.load_state_dict(load_file(WEIGHTS), strict=True)
    return networks.eval().double()


def dense_convolution(x, weight, bias):
    """Convolve by matrix product over unfolded windows."""
    height, width = (length - weight.shape[2] + 1 for length in x.shape[2:])
    columns = F.unfold(x, weight.shape[2:])
    return (weight.flatten(1) @ columns).view(len(x), -1, height, width) + bias[:, None, None]


def prelu(x, slope):
    return torch.where(x > 0, x, x * slope.view(1, -1, *[1] * (x.ndim - 2)))


def pool(x, side):
    """Maximum over side x side windows at stride 2, the last ones cut off by the border."""
    rows = [
        torch.stack(
            [x[..., i : i + side, j : j + side].amax((2, 3)) for j in starts(x.shape[3], side)], -1
        )
        for i in starts(x.shape[2], side)
    ]
    return torch.stack(rows, -2)


def starts(length, side):
    return range(0, max(1, length - side + 2), 2)


def stage(x, weights, number, side=None):
    x = dense_convolution(x, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"])
    x = prelu(x, weights[f"prelu{number}.weight"])
    return x if side is None else pool(x, side)


def dense(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def columns_first(x):
    """Width outermost, channels innermost, written out."""
    return torch.stack(
        [
            x[:, c, i, j]
            for j in range(x.shape[3])
            for i in range(x.shape[2])
            for c in range(x.shape[1])
        ],
        dim=1,
    )


def published_scale(x):
    return (x * 255 - 127.5) / 128


def test_proposals(networks):
    photos = torch.rand(2, 3, 17, 14, dtype=torch.double)
    weights = networks.pnet.state_dict()
    x = stage(published_scale(photos), weights, 1, side=2)
    x = stage(stage(x, weights, 2), weights, 3)
    score = dense_convolution(x, weights["conv4_1.weight"], weights["conv4_1.bias"])
    offsets = dense_convolution(x, weights["conv4_2.weight"], weights["conv4_2.bias"])
    found = networks.pnet(photos)
    torch.testing.assert_close(found[0], torch.sigmoid(score[:, 1] - score[:, 0]))
    torch.testing.assert_close(found[1], offsets)


def test_refinement(networks):
    crops = torch.rand(2, 3, 24, 24, dtype=torch.double)
    weights = networks.rnet.state_dict()
    x = stage(published_scale(crops), weights, 1, side=3)
    x = stage(stage(x, weights, 2, side=3), weights, 3)
    x = prelu(dense(columns_first(x), weights, "dense4"), weights["prelu4.weight"])
    score, offsets = networks.rnet(crops)
    expected = dense(x, weights, "dense5_1")
    torch.testing.assert_close(score, torch.sigmoid(expected[:, 1] - expected[:, 0]))
    torch.testing.assert_close(offsets, dense(x, weights, "dense5_2"))


def test_output(networks):
    crops = torch.rand(2, 3, 48, 48, dtype=torch.double)
    weights = networks.onet.state_dict()
    x = stage(published_scale(crops), weights, 1, side=3)
    x = stage(stage(stage(x, weights, 2, side=3), weights, 3, side=2), weights, 4)
    x = prelu(dense(columns_first(x), weights, "dense5"), weights["prelu5.weight"])
    score, offsets, points = networks.onet(crops)
    expected = dense(x, weights, "dense6_1")
    torch.testing.assert_close(score, torch.sigmoid(expected[:, 1] - expected[:, 0]))
    torch.testing.assert_close(offsets, dense(x, weights, "dense6_2"))
    flat = dense(x, weights, "dense6_3")  # five x, then five y
    torch.testing.assert_close(points[..., 0], flat[:, :5])
    torch.testing.assert_close(points[..., 1], flat[:, 5:])


@pytest.mark.parametrize("height", [12, 13, 20, 21])
@pytest.mark.parametrize("width", [13, 18, 24])
def test_padding_changes_nothing(networks, height, width):
    photo = torch.rand(1, 3, height, width, dtype=torch.double)
    padded = torch.rand(2, 3, 24, 27, dtype=torch.double)
    padded[:1, :, :height, :width] = photo
    alone = networks.pnet(photo)
    together = networks.pnet(padded, torch.tensor([[height, width], [24, 27]]))
    rows, columns = alone[0].shape[1:]
    torch.testing.assert_close(together[0][:1, :rows, :columns], alone[0])
    torch.testing.assert_close(together[1][:1, :, :rows, :columns], alone[1])
    assert torch.isfinite(together[0]).all()


def test_gradients_reach_the_photo(networks):
    photo = torch.rand(1, 3, 12, 12, dtype=torch.double, requires_grad=True)
    networks.pnet(photo)[0].sum().backward()
    assert photo.grad.abs().sum() > 0
