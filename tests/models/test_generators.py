"""Generators: what they may touch and see, how they fill and borrow; critics: where they look."""

import copy

import pytest
import torch

from mfrkit.errors import ShapeError
from mfrkit.models.completion import SmallCompletion, composite, smooth_filling
from mfrkit.models.contextual import (
    ContextualCompletion,
    Critics,
    borrow_patches,
    cut_boxes,
    hole_boxes,
)
from mfrkit.models.g2d import GuidedUpsampler
from mfrkit.models.registry import build_network


@pytest.fixture(params=["small", "contextual", "guided"])
def network(request):
    torch.manual_seed(0)
    if request.param == "small":
        small = SmallCompletion((8, 8, 16, 16), heads=2).eval()
        torch.nn.init.normal_(small.picture.weight, std=0.1)  # zero at first, it hides the rest
        torch.nn.init.normal_(small.place, std=0.1)
        return small
    if request.param == "guided":
        return GuidedUpsampler(4, blocks=2, side=0).eval()
    return ContextualCompletion(8).eval()


@pytest.fixture
def faces():
    torch.manual_seed(1)
    return torch.rand(2, 3, 32, 48)


@pytest.fixture
def region():
    region = torch.zeros(2, 1, 32, 48)
    region[:, :, 16:26, 10:30] = 1
    return region


@torch.no_grad()
def test_only_the_grown_region_changes(network, faces, region):
    made = network(faces, region)
    grown = torch.zeros_like(region)
    grown[:, :, 14:28, 8:32] = 1
    outside = (grown == 0).expand_as(faces)
    assert torch.equal(made[outside], faces[outside])
    assert (made != faces)[~outside].float().mean() > 0.95
    assert 0 <= made.min() <= made.max() <= 1
    assert torch.equal(network(faces, torch.zeros_like(region)), faces)


@torch.no_grad()
def test_what_lies_in_the_hole_is_not_seen(network, faces, region):
    """A mask's colour has no influence: the generator would learn to rely on it."""
    other = torch.where(region > 0, torch.rand_like(faces), faces)
    torch.testing.assert_close(network(faces, region), network(other, region))


@torch.no_grad()
def test_soft_edges_blend(network, faces, region):
    hole = network.hole(0.5 * region)
    picture = network.pictures(faces, hole)[-1]
    expected = 0.5 * picture + 0.5 * faces
    middle = (slice(None), slice(None), slice(18, 24), slice(12, 28))
    torch.testing.assert_close(network(faces, 0.5 * region)[middle], expected[middle])
    assert torch.equal(composite(picture, faces, torch.ones_like(hole)), picture)


@torch.no_grad()
def test_the_encoder_is_reachable(network, faces, region):
    for name, (channels, side) in network.descriptors.items():
        features = network.encode(faces, region, name)
        assert features.shape == (2, channels, 32 * side // 112, 48 * side // 112)
    first = next(iter(network.descriptors))
    assert torch.equal(network.encode(faces, region), network.encode(faces, region, first))


@torch.no_grad()
def test_a_cut_generator_encodes_as_before(network, faces, region):
    """And holds nothing the descriptor does not need: each of its parameters has influence."""
    for name in network.descriptors:
        cut = copy.deepcopy(network)
        cut.cut(name)
        before = network.encode(faces, region, name)
        assert torch.equal(cut.encode(faces, region, name), before)
        with torch.enable_grad():
            cut.encode(faces, region, name).square().mean().backward()
        still = [each for each, p in cut.named_parameters() if p.grad is None]
        assert not still


@torch.no_grad()
def test_a_face_does_not_depend_on_its_batch(network, faces, region):
    both = network(faces, region)
    torch.testing.assert_close(network(faces[1:], region[1:]), both[1:], atol=1e-5, rtol=1e-5)


def test_every_parameter_learns(network, faces, region):
    network.train()
    pictures = network.pictures(faces, network.hole(region))
    assert all(picture.shape == faces.shape for picture in pictures)
    sum(picture.square().mean() for picture in pictures).backward()
    still = [name for name, p in network.named_parameters() if not p.grad.abs().sum()]
    assert not still


def test_gradients_stay_in_the_hole(network, faces, region):
    faces.requires_grad_()
    made = network(faces, region)
    made[:, :, 18:24, 14:28].sum().backward()
    assert faces.grad[:, :, 18:24, 14:28].abs().sum() == 0
    assert faces.grad[:, :, :14].abs().sum() > 0


@pytest.mark.parametrize(
    ("shape", "region"),
    [
        ((1, 1, 32, 32), (1, 1, 32, 32)),
        ((1, 3, 32, 32), (1, 1, 32, 16)),
        ((1, 3, 34, 32), (1, 1, 34, 32)),
    ],
)
def test_wrong_shapes_are_refused(network, shape, region):
    with pytest.raises(ShapeError):
        network(torch.zeros(shape), torch.zeros(region))


def test_sizes_of_the_presets():
    small = build_network("completion-small", {})
    assert sum(p.numel() for p in small.parameters()) == 2_191_107
    with torch.device("meta"):
        paper = build_network("completion-paper", {})
        region = torch.zeros(1, 1, 256, 256)
        assert paper.encode(torch.zeros(1, 3, 256, 256), region).shape == (1, 256, 64, 64)


@torch.no_grad()
def test_the_guided_upsampler_works_at_its_own_size():
    """Crops of 112 are seen at 256; each of its residual blocks can be the descriptor."""
    with torch.device("meta"):
        network = build_network("completion-guided", {})
        assert sum(p.numel() for p in network.parameters()) == 10_774_595
        faces, region = torch.zeros(1, 3, 112, 112), torch.zeros(1, 1, 112, 112)
        assert network.encode(faces, region, "block_3").shape == (1, 256, 64, 64)
        assert network.pictures(faces, region)[-1].shape == faces.shape
        assert list(network.descriptors) == [f"block_{number}" for number in range(8, 0, -1)]


def borrowed_by_hand(features, hole):
    """Contextual attention of one face, place by place; coordinates are those of the half map."""
    height, width = features.shape[1:]
    rows, columns = height // 2, width // 2
    padded = torch.nn.functional.pad(features[:, ::2, ::2], (1, 1, 1, 1))
    places = [(r, c) for r in range(rows) for c in range(columns)]
    patch = {(r, c): padded[:, r : r + 3, c : c + 3].flatten() for r, c in places}
    score = {(a, b): float(patch[a] @ patch[b] / patch[a].norm()) for a in places for b in places}

    def step(place, by, order):
        at = order.index(place) + by
        return order[at] if 0 <= at < len(order) else None

    for order in (places, sorted(places, key=lambda p: (p[1], p[0]))):
        moves = [{p: step(p, by, order) for p in places} for by in (-1, 0, 1)]
        score = {(a, b): sum(score.get((m[a], m[b]), 0.0) for m in moves) for a, b in score}
    holes = torch.nn.functional.pad(hole.unfold(0, 2, 2).unfold(1, 2, 2).amax((2, 3)), (1,) * 4)
    usable = {(r, c): float(holes[r : r + 3, c : c + 3].max()) == 0 for r, c in places}
    wide = torch.nn.functional.pad(features, (1, 1, 1, 1))
    result = torch.zeros_like(wide)
    for b in places:
        logits = torch.tensor([10 * score[a, b] * usable[a] for a in places])
        shares = torch.softmax(logits, 0)
        for a, share in zip(places, shares, strict=True):
            if usable[a]:
                copied = wide[:, 2 * a[0] : 2 * a[0] + 4, 2 * a[1] : 2 * a[1] + 4]
                result[:, 2 * b[0] : 2 * b[0] + 4, 2 * b[1] : 2 * b[1] + 4] += share * copied / 4
    return result[:, 1:-1, 1:-1]


def test_contextual_attention_is_the_papers():
    torch.manual_seed(2)
    features = 0.3 * torch.randn(2, 3, 8, 10)
    hole = torch.zeros(2, 1, 8, 10)
    hole[0, 0, 2:4, 2:5] = 1
    hole[1, 0, 6:, 7:] = 1
    found = borrow_patches(features, hole)
    for place in range(2):
        expected = borrowed_by_hand(features[place], hole[place, 0])
        torch.testing.assert_close(found[place], expected, atol=1e-5, rtol=1e-4)


def test_nothing_is_borrowed_from_the_hole():
    features = torch.rand(1, 2, 16, 16, requires_grad=True)
    hole = torch.zeros(1, 1, 16, 16)
    hole[..., 4:12, 4:12] = 1
    copies = torch.where(hole > 0, features.detach() + 5, features)
    borrowed = borrow_patches(copies, hole)
    assert borrowed.max() < 5


@pytest.fixture
def hole():
    hole = torch.zeros(1, 1, 24, 37)
    hole[:, :, 8:, 10:30] = 1
    return hole


def test_seen_pixels_stay_and_hidden_ones_have_no_influence(hole):
    torch.manual_seed(0)
    faces = torch.rand(1, 3, 24, 37)
    filled = smooth_filling(faces, hole)
    seen = (hole == 0).expand_as(faces)
    assert torch.equal(filled[seen], faces[seen])
    other = torch.where(hole > 0, torch.rand_like(faces), faces)
    assert torch.equal(smooth_filling(other, hole), filled)


def test_one_colour_fills_with_itself(hole):
    faces = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 24, 37)
    torch.testing.assert_close(smooth_filling(faces, hole), faces.contiguous())


def test_colours_come_from_the_nearest_side(hole):
    faces = torch.zeros(1, 1, 24, 37).expand(1, 3, 24, 37).clone()
    faces[..., 20:] = 1
    row = smooth_filling(faces, hole)[0, 0, 20]
    assert row[11] < 0.3 < 0.7 < row[28]
    assert (row[10:30].diff() > -0.05).all()


def test_nothing_seen_is_black(hole):
    assert not smooth_filling(torch.ones(1, 3, 8, 8), torch.ones(1, 1, 8, 8)).any()


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
