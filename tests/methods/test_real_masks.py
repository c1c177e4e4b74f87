"""Really masked faces are held to portraits, and wrong names do no harm."""

import pytest
import torch
import torch.nn.functional as F

from mfrkit.errors import InputError
from mfrkit.methods.real_masks import OtherViewLoss, PortraitLoss, RealOptions, UnnamedOptions


@pytest.fixture
def portraits():
    return F.normalize(torch.randn(20, 32, generator=torch.Generator().manual_seed(0)))


def near(portraits, people, noise=0.05):
    """Features near the portraits of some people, asking for gradients."""
    generator = torch.Generator().manual_seed(1)
    errors = torch.randn(len(people), portraits.shape[1], generator=generator)
    return (3 * (portraits[people] + noise * errors)).requires_grad_()


def test_the_loss_is_the_weighted_sum_over_all_faces_if_none_is_left_out(portraits):
    people = torch.tensor([3, 1, 7])
    features = near(portraits, people)
    options = RealOptions(template=0.5, identity=0.2, scale=8, trim=0)
    found = PortraitLoss(portraits, options)(features, people)
    cosine = F.normalize(features) @ portraits.T
    distance = 1 - F.cosine_similarity(features, portraits[people])
    wanted = 0.5 * distance.mean() + 0.2 * F.cross_entropy(8 * cosine, people)
    torch.testing.assert_close(found["real"], wanted)
    torch.testing.assert_close(found["real_template"], distance.mean())


def test_faces_with_wrong_names_get_no_gradient(portraits):
    people = torch.arange(16)
    features = near(portraits, people)
    named = people.clone()
    named[[4, 11]] = torch.tensor([17, 2])
    PortraitLoss(portraits, RealOptions(trim=0.125))(features, named)["real"].backward()
    moved = features.grad.abs().sum(1) > 0
    assert moved.tolist() == [place not in (4, 11) for place in range(16)]


def test_a_wrong_name_spoils_what_is_learned_unless_it_is_left_out(portraits):
    """A linear student learns the people's templates although some photos have wrong names."""
    generator = torch.Generator().manual_seed(2)
    people = torch.arange(20).repeat(8)
    photos = F.normalize(portraits[people] + 0.1 * torch.randn(160, 32, generator=generator))
    named = people.clone()
    wrong = torch.arange(0, 160, 16)
    named[wrong] = (named[wrong] + 7) % 20
    errors = {}
    for trim in (0.0, 0.15):
        student = torch.eye(32).requires_grad_()
        loss = PortraitLoss(portraits, RealOptions(template=1.0, identity=0.5, trim=trim))
        optimiser = torch.optim.SGD([student], 0.3)
        for _ in range(60):
            optimiser.zero_grad()
            loss(photos @ student, named)["real"].backward()
            optimiser.step()
        right = F.cosine_similarity(photos[wrong] @ student.detach(), portraits[people[wrong]])
        errors[trim] = float((1 - right).mean())
    assert errors[0.15] < 0.9 * errors[0.0]


def test_portraits_stay_as_they_are_and_out_of_checkpoints(portraits):
    loss = PortraitLoss(portraits, RealOptions())
    assert not loss.state_dict()
    assert not list(loss.parameters())


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"template": -1}, {"template": 0, "identity": 0}, {"scale": 0}, {"trim": 1}],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError, match=f"real.{next(iter(wrong))}"):
        RealOptions(**wrong)


def test_two_views_of_a_face_are_held_to_each_other_and_weakly_to_the_teacher(portraits):
    index = torch.tensor([5, 9, 2])
    features = near(portraits, index)
    other = near(portraits, index, 0.2)
    options = UnnamedOptions(template=0.5, identity=0.2, scale=8, trim=0, anchor=0.1)
    found = OtherViewLoss(portraits, options)(features, other, index)
    distance = 1 - F.cosine_similarity(features, other)
    cosine = 8 * F.normalize(features) @ F.normalize(other).T
    told = sum(F.cross_entropy(each, torch.arange(3)) for each in (cosine, cosine.T)) / 2
    away = 2 - sum(F.cosine_similarity(each, portraits[index]) for each in (features, other))
    wanted = 0.5 * distance.mean() + 0.2 * told + 0.1 * away.mean() / 2
    torch.testing.assert_close(found["unnamed"], wanted)
    torch.testing.assert_close(found["unnamed_template"], distance.mean())


def test_each_view_is_pulled_to_the_other_as_it_stands(portraits):
    """Were both ends free to move, a step would take them twice as near."""
    index = torch.tensor([5, 9])
    features, other = near(portraits, index), near(portraits, index, 0.2)
    options = UnnamedOptions(template=1.0, identity=0.0, anchor=0.0, trim=0.0)
    OtherViewLoss(portraits, options)(features, other, index)["unnamed"].backward()
    alone = features.detach().clone().requires_grad_()
    (1 - F.cosine_similarity(alone, other.detach())).mean().div(2).backward()
    torch.testing.assert_close(features.grad, alone.grad)
    assert other.grad.abs().sum() > 0


def test_all_faces_alike_is_no_way_out_without_names(portraits):
    """A linear student that agreement alone would let collapse keeps 16 faces apart."""
    photos = F.normalize(torch.randn(16, 32, generator=torch.Generator().manual_seed(3)))
    spread = {}
    for identity in (0.0, 1.0):
        options = UnnamedOptions(template=1.0, identity=identity, anchor=0.0, trim=0.0)
        loss = OtherViewLoss(portraits, options)
        student = (torch.eye(32) + 2.0 / 32).requires_grad_()
        optimiser = torch.optim.SGD([student], 1.0)
        for step in range(200):
            generator = torch.Generator().manual_seed(step)
            changed = photos + 0.3 * torch.randn(16, 32, generator=generator)
            optimiser.zero_grad()
            loss(photos @ student, changed @ student, torch.arange(16))["unnamed"].backward()
            optimiser.step()
        cosine = F.normalize(photos @ student.detach())
        spread[identity] = float(1 - (cosine @ cosine.T).mean())
    assert spread[1.0] > spread[0.0]


def test_hands_and_scarves_among_the_unnamed_are_left_out(portraits):
    index = torch.arange(10)
    features = near(portraits, index)
    other = portraits[index].clone()
    other[4] = -other[4]
    OtherViewLoss(portraits, UnnamedOptions(trim=0.1))(features, other, index)["unnamed"].backward()
    moved = features.grad.abs().sum(1) > 0
    assert moved.tolist() == [place != 4 for place in range(10)]


def test_an_impossible_anchor_is_refused():
    with pytest.raises(InputError, match=r"unnamed\.anchor"):
        UnnamedOptions(anchor=-1)
    with pytest.raises(InputError, match=r"unnamed\.count"):
        UnnamedOptions(count=0)
