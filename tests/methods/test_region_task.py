"""The region method learns where masks are."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.region import (
    DisturbOptions,
    RegionOptions,
    RegionTask,
    WornRegionOptions,
    WornRegions,
)
from mfrkit.methods.views import PairedViews, ViewOptions, draw_view
from mfrkit.models.cards import ModelCard
from mfrkit.models.region import RegionNet, RegionPredictor

STILL = DisturbOptions(stuff=0, patch=0, shade=0, grain=0)
CARD = ModelCard(name="region", task="region", architecture="region")


def views_of(count, probability):
    torch.manual_seed(0)
    coarse = torch.rand(count, 3, 7, 7)
    crops = torch.nn.functional.interpolate(coarse, 112, mode="bicubic").clamp(0, 1) * 255
    points = torch.from_numpy(template(112)).float().expand(count, 5, 2)
    masks = MaskOptions(probability=probability)
    draws = [draw_view(0, 0, index, ViewOptions(), masks) for index in range(count)]
    unknown = torch.full((count,), -1)
    return PairedViews()(crops.to(torch.uint8), points, unknown, torch.arange(count), draws)


def test_learns_eight_faces():
    batch = views_of(8, 0.75)
    assert 0 < int(batch.worn.sum()) < 8
    student = RegionPredictor(RegionNet((8, 16, 24)), CARD).train()
    task = RegionTask(student=student, options=RegionOptions(), changes=STILL)
    optimiser = torch.optim.AdamW(task.groups()["main"], 1e-2)
    first = last = 0.0
    for _ in range(30):
        losses = task(batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        last = float(losses["loss"].detach())
        first = first or last
    with torch.no_grad():
        predicted = student(batch.masked) > 0.5
    true = batch.region > 0.5
    worn = batch.worn
    shared = (predicted & true)[worn].sum() / (predicted | true)[worn].sum()
    assert last < first / 3
    assert float(shared) > 0.85
    assert float(predicted[~worn].float().mean()) < 0.05


def test_losses_are_weighted():
    batch = views_of(4, 1.0)
    student = RegionPredictor(RegionNet((4, 8)), CARD).eval()
    task = RegionTask(student=student, options=RegionOptions(pixel=2, dice=3), changes=STILL)
    with torch.no_grad():
        losses = task.eval()(batch)
    total = 2 * losses["pixel"] + 3 * losses["dice"]
    assert float(losses["loss"]) == pytest.approx(float(total))


@pytest.mark.parametrize("weights", [{"pixel": -1}, {"pixel": 0, "dice": 0}])
def test_refuses_useless_weights(weights):
    with pytest.raises(InputError, match="must not be negative, and not all 0"):
        RegionOptions(**weights)


class Brightness(nn.Module):
    """Says that a pixel is covered as surely as it is red."""

    def forward(self, faces):
        return faces[:, :1]


class Canvas(RegionPredictor):
    """Answers with logits of its own, whatever it is shown; remembers what that was."""

    def __init__(self, logits):
        super().__init__(nn.Identity(), CARD)
        self.logits = nn.Parameter(logits)

    def raw(self, faces):
        self.shown = faces
        return self.logits


def worn_loss(red, logits, changes=STILL, **options):
    """Return the task and the loss of really masked faces alone."""
    faces = red.expand(-1, 3, -1, -1).clone()
    student = Canvas(logits.clone())
    task = RegionTask(
        student=student,
        options=RegionOptions(),
        changes=changes,
        worn=WornRegions(Brightness(), WornRegionOptions(**options)),
    )
    batch = replace(FaceBatch.of(faces, faces), real=FaceBatch.of(faces, faces))
    return task, task(batch)["real"]


def test_what_the_teacher_is_unsure_of_costs_nothing():
    red = torch.full((2, 1, 16, 16), 0.5)
    red[..., :4] = red[..., -4:] = 1.0  # as the mirror image says too
    red[..., 6:10] = 0.02
    task, loss = worn_loss(red, torch.zeros(2, 1, 16, 16), trim=0.0)
    loss.backward()
    moved = task.student.logits.grad != 0
    assert moved[..., :4].all()
    assert moved[..., -4:].all()
    assert moved[..., 6:10].all()
    assert not moved[..., 4:6].any()
    assert not moved[..., 10:12].any()
    assert (task.student.logits.grad[..., :4] < 0).all()  # towards cover
    assert (task.student.logits.grad[..., 6:10] > 0).all()


class LeftHalf(nn.Module):
    """Says that the left half is covered, of any face."""

    def forward(self, faces):
        covered = torch.zeros_like(faces[:, :1])
        covered[..., : faces.shape[3] // 2] = 1.0
        return covered


def test_what_is_not_said_of_the_mirror_image_too_is_unknown():
    _, known = WornRegions(LeftHalf(), WornRegionOptions(trim=0.0))(torch.rand(2, 3, 16, 16))
    assert not known.any()


def test_right_answers_cost_nothing_and_wrong_ones_do():
    red = torch.zeros(2, 1, 16, 16)
    red[:, :, 8:] = 1.0
    right = (red * 2 - 1) * 30
    assert worn_loss(red, right, trim=0.0)[1].item() == pytest.approx(0, abs=1e-4)
    assert worn_loss(red, -right, trim=0.0)[1].item() > 10


def test_the_face_it_is_least_sure_of_is_left_out():
    red = torch.zeros(4, 1, 16, 16)
    red[2, :, 8:] = 0.6
    task, loss = worn_loss(red, torch.zeros(4, 1, 16, 16), trim=0.25)
    loss.backward()
    moved = task.student.logits.grad.flatten(1).ne(0).any(1)
    assert moved.tolist() == [True, True, False, True]


def test_where_a_patch_is_put_the_region_is_known():
    torch.manual_seed(1)
    red = torch.full((4, 1, 32, 32), 0.5)
    patches = replace(STILL, patch=1.0)
    task, loss = worn_loss(red, torch.zeros(4, 1, 32, 32), patches, trim=0.0)
    loss.backward()
    moved = task.student.logits.grad != 0
    assert 0.02 < moved.float().mean() < 0.9
    assert task.student.logits.grad.sum() < 0  # towards cover
    changed = (task.student.shown - 0.5).abs().amax(1, keepdim=True) > 1e-6
    assert not (moved & ~changed).any()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", 0, "real.count must be"),
        ("weight", 0.0, "real.weight above 0"),
        ("sure", 0.5, "real.sure is from above 0.5"),
        ("sure", 1.0, "real.sure is from above 0.5"),
        ("trim", 1.0, "real.trim is a share"),
    ],
)
def test_refuses_useless_numbers_of_real_faces(name, value, message):
    with pytest.raises(InputError, match=message):
        WornRegionOptions(**{name: value})
