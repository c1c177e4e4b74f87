"""Attention maps and their distance by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mfrkit.errors import InputError, ShapeError, WeightsError
from mfrkit.losses.margin import MarginHead, create_margin
from mfrkit.methods.base import FaceBatch, Frozen
from mfrkit.methods.maskinv import MaskInv, MaskInvOptions, Tap, attention_distance, attention_map
from mfrkit.methods.real_masks import OtherViewLoss, PortraitLoss, RealOptions, UnnamedOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.mobilefacenet import MobileFaceNet
from mfrkit.models.onednn import BlockedMobileFaceNet, is_supported
from mfrkit.models.recogniser import Recogniser
from tests.waits import Waits


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


def tiny(dim=6, seed=0):
    """A recogniser of 8x8 faces with a batch norm, so that modes matter."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.PReLU(8), nn.Flatten(), nn.Linear(128, dim)
    )
    card = ModelCard(
        name="tiny", task="recognition", architecture="", input_size=(8, 8), embedding_dim=dim
    )
    return Recogniser(network, card)


def method(*, dim=6, head=None, projection=None, teacher=None, **options):
    return MaskInv(
        student=tiny(dim),
        teacher=teacher or tiny(6, seed=1),
        head=head,
        projection=projection,
        options=MaskInvOptions(**options),
    ).train()


@pytest.fixture
def batch():
    torch.manual_seed(5)
    clean = torch.rand(8, 3, 8, 8)
    masked, region = clean.clone(), torch.zeros(8, 1, 8, 8)
    masked[:5, :, 4:] = 0.5
    region[:5, :, 4:] = 1.0
    label = torch.tensor([0, 1, 2, 0, 1, -1, -1, 2])
    return FaceBatch(masked, clean, region, label, torch.arange(8))


def test_template_loss_is_the_papers(batch):
    task = method(distance="mse", template=100.0)
    losses = task(batch)
    task.student.train()
    student = F.normalize(task.student.features(batch.masked))
    teacher = F.normalize(task.teacher(batch.clean))
    wanted = 100 * (student - teacher).square().sum() / (6 * 8)
    assert losses["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_a_step_waits_for_the_device_only_to_see_that_the_teacher_makes_sense(batch):
    with Waits() as waits:
        method()(batch)["loss"].backward()
    assert waits.lines == ["if not bool(template.isfinite().all()):"]


def test_weight_of_unmasked_faces(batch):
    plain, weighted = method()(batch), method(unmasked=3.0)(batch)
    wanted = (5 * plain["masked"] + 3 * 3 * plain["unmasked"]) / (5 + 9)
    assert weighted["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_faces_without_label_sit_out_the_classifier(batch):
    head = MarginHead(6, 3, create_margin("arcface"))
    task = method(head=head, identity=1.0, template=0.0)
    loss = task(batch)["identity"]
    known = batch.label >= 0
    features = task.embed(batch.masked)
    wanted = head(features[known], batch.label[known])
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    unknown = replace(batch, label=torch.full_like(batch.label, -1))
    loss = task(unknown)["loss"]
    loss.backward()
    assert loss.item() == 0


def test_known_templates_stand_in_for_the_teacher(batch):
    task = method()
    template = torch.randn(8, 6)
    losses = task(replace(batch, template=template, centre=template))
    wanted = (1 - F.cosine_similarity(task.embed(batch.masked), template)).mean()
    assert losses["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_targets_averaged_over_mirror_images(batch):
    task = method(flip_target=True)
    losses = task(batch)
    with torch.no_grad():
        wanted = task.teacher(batch.clean) + task.teacher(batch.clean.flip(3))
        student = task.embed(batch.masked)
    wanted = (1 - F.cosine_similarity(student, wanted)).mean()
    assert losses["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_attention_is_pulled_to_that_of_the_teachers_straight_view(batch, flip):
    student, teacher = tiny(), tiny(seed=1)
    task = MaskInv(
        student=student,
        teacher=teacher,
        head=None,
        projection=None,
        options=MaskInvOptions(attention=3.0, flip_target=flip),
        taps=(Tap(student, "network.0"), Tap(teacher, "network.0")),
    ).train()
    losses = task(batch)
    maps = student.network[0](2 * batch.masked - 1), teacher.network[0](2 * batch.clean - 1)
    wanted = attention_distance(*maps).mean()
    assert losses["attention"].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert (losses["loss"] - losses["template"]).item() == pytest.approx(
        3 * wanted.item(), rel=1e-4
    )


@pytest.mark.parametrize("options", [{}, {"distance": "mse", "template": 100.0, "pairs": 1.0}])
def test_it_overfits_eight_faces_and_leaves_its_teacher_alone(batch, options):
    task = method(**options)
    before = {k: v.clone() for k, v in task.teacher.state_dict().items()}
    optimiser = torch.optim.Adam(task.groups()["main"], 0.02)
    first = None
    for _ in range(150):
        for name, losses in task.steps(batch):
            assert name == "main"
            optimiser.zero_grad()
            losses["loss"].backward()
            optimiser.step()
            first = first or losses["loss"].item()
    assert losses["loss"].item() < 0.02 * first
    after = task.teacher.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(p in set(task.groups()["main"]) for p in task.teacher.parameters())


def test_a_narrower_student_learns_through_a_projection(batch):
    task = method(dim=4, projection=nn.Linear(4, 6, bias=False), triplets=1.0)
    losses = task(batch)
    losses["loss"].backward()
    assert task.projection.weight.grad.abs().sum() > 0
    assert not any("projection" in name for name in task.student.state_dict())


def test_frozen_stays_frozen_and_lets_gradients_through():
    frozen = Frozen(tiny()).train()
    assert not frozen.network.training
    faces = torch.rand(2, 3, 8, 8, requires_grad=True)
    frozen(faces).sum().backward()
    assert faces.grad.abs().sum() > 0
    assert all(p.grad is None for p in frozen.parameters())


def test_nonsense_from_the_teacher_stops(batch):
    teacher = tiny(seed=1)
    with torch.no_grad():
        teacher.network[-1].weight.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        method(teacher=teacher)(batch)


def test_half_precision_keeps_losses_full(batch):
    task = method(pairs=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        losses = task(batch)
    assert losses["loss"].dtype == torch.float32
    assert losses["loss"].item() == pytest.approx(task(batch)["loss"].item(), rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"template": -1.0},
        {"template": 0.0},
        {"unmasked": -1.0},
        {"attention": -1.0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError, match="method"):
        MaskInvOptions(**wrong)


def test_really_masked_faces_add_their_loss_and_leave_the_others_as_they_are(batch):
    """Those are a batch of their own: what is said of the drawn ones does not change."""
    portraits = F.normalize(torch.randn(3, 6))
    task = method(pairs=0.5).eval()
    without = task(batch)
    task.really_worn.real = PortraitLoss(portraits, RealOptions(trim=0))
    real = replace(batch, label=torch.arange(8) % 3)
    found = task(replace(batch, real=real))
    wanted = task.really_worn.real(task.student.features(batch.masked), real.label)
    torch.testing.assert_close(found["real"], wanted["real"])
    torch.testing.assert_close(found["loss"], without["loss"] + wanted["real"])
    for name in ("template", "pairs", "masked", "unmasked"):
        torch.testing.assert_close(found[name], without[name])


def test_unnamed_faces_add_theirs_beside_real_ones(batch):
    """Both views of an unnamed face are embedded; neither is among what is distilled."""
    task = method().eval()
    without = task(batch)
    task.really_worn.real = PortraitLoss(F.normalize(torch.randn(3, 6)), RealOptions(trim=0))
    task.really_worn.unnamed = OtherViewLoss(F.normalize(torch.randn(8, 6)), UnnamedOptions(trim=0))
    real = replace(batch, label=torch.arange(8) % 3)
    found = task(replace(batch, real=real, unnamed=batch))
    seen, other = (task.student.features(each) for each in (batch.clean, batch.masked))
    wanted = task.really_worn.unnamed(seen, other, batch.index)["unnamed"]
    torch.testing.assert_close(found["unnamed"], wanted)
    torch.testing.assert_close(found["loss"], without["loss"] + found["real"] + wanted)


def test_a_blocked_network_gives_the_map_of_the_plain_one():
    torch.manual_seed(0)
    plain = MobileFaceNet().eval()
    if not is_supported(plain):
        pytest.skip("no blocked layout on this processor")
    blocked = BlockedMobileFaceNet(plain)
    faces, maps = torch.rand(1, 3, 112, 112), []
    for network in (plain, blocked):
        tap = Tap(network, "block.11")
        with torch.no_grad():
            network(faces)
        maps.append(tap.take())
    assert maps[0].shape == (1, 128, 14, 14)
    torch.testing.assert_close(maps[1], maps[0], atol=1e-4, rtol=1e-3)


def test_a_map_is_given_once():
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    tap = Tap(network, "0")
    network(torch.rand(1, 3, 2, 2))
    tap.take()
    with pytest.raises(RuntimeError, match="not called"):
        tap.take()


@pytest.mark.parametrize(("stage", "count"), [("layer9", 0), ("0", 2)])
def test_a_stage_must_be_one_module(stage, count):
    network = nn.ModuleList([nn.Sequential(nn.Identity()), nn.Identity()])
    with pytest.raises(InputError, match=f"method.stage '{stage}': {count} modules"):
        Tap(network, stage)
