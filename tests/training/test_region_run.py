"""What a region run is made of: settings, disturbed faces, losses, and how it is measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.views import PairedViews, ViewOptions, draw_view
from mfrkit.models.cards import ModelCard
from mfrkit.models.region import RegionNet, RegionPredictor
from mfrkit.training.checks import RegionCheck
from mfrkit.training.data import open_train_set
from mfrkit.training.options import TrainRequest
from mfrkit.training.region import (
    PRESETS,
    DisturbOptions,
    RegionOptions,
    RegionTask,
    WornRegionOptions,
    WornRegions,
    disturb,
    resolve,
)

CARD = ModelCard(name="region", task="region", architecture="region")


def request(**options):
    return TrainRequest(data=("crops",), output=Path("x.safetensors"), **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_kinds_of_the_check_are_held_out(preset):
    settings = resolve(request(preset=preset))
    trained = set(settings.masks.parsed().types)
    assert {"hand", "rectangle", "cloth"} <= trained
    assert not trained & set(settings.check.masks(settings.masks)["unseen"].types)
    assert 0 < settings.masks.probability < 1  # unmasked faces are what false alarms are made of


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.widths=[8]", "two to four"),
        ("check.types=hat", "unknown mask type"),
        ("check.faces=-1", "must not be negative"),
        ("teacher.name=x", "no table 'teacher'"),
    ],
)
def test_settings_that_make_no_sense(text, message):
    with pytest.raises(InputError, match=message):
        resolve(request(assignments=(text,)))


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(InputError, match="did you mean small"):
        resolve(request(preset="smal"))


class Says(nn.Module):
    """Give the same answer for every pixel, or cover what is nearly black."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, faces):
        if self.answer is not None:
            return torch.full_like(faces[:, :1], self.answer)
        dark = (faces.amax(1, keepdim=True) + 1) / 2 < 0.07
        return torch.where(dark, 9.0, -9.0)


@pytest.fixture
def check(noise_crops):
    faces = list(open_train_set([str(noise_crops)]).faces)[:3]
    black = MaskOptions.parse(types="rectangle", colors="#000000")
    cup = MaskOptions.parse(types="n95", colors="white")
    broken = faces[0]._replace(path=noise_crops / "nowhere.png")
    masks = {"seen": black, "unseen": cup}
    chosen = {"size": (112, 112), "masks": masks, "device": torch.device("cpu")}
    with pytest.raises(InputError, match="none of the 1 crops to check on is usable"):
        RegionCheck([broken], **chosen)
    return RegionCheck([broken, *faces], **chosen)


def test_a_blind_predictor_is_called_blind(check):
    figures = check(RegionPredictor(Says(-9.0), CARD), {})
    assert figures["check_seen_iou"] == figures["check_unseen_iou"] == 0
    assert figures["check_seen_missed"] == figures["check_unseen_missed"] == 1
    assert figures["check_false_alarm"] == figures["check_clean_area"] == 0
    assert figures["check_error"] == pytest.approx(2 / 3)


def test_one_that_suspects_all_gives_false_alarms(check):
    figures = check(RegionPredictor(Says(9.0), CARD), {})
    assert figures["check_false_alarm"] == figures["check_clean_area"] == 1
    assert figures["check_seen_missed"] == 0
    assert 0.1 < figures["check_seen_iou"] < 0.5  # the share of the crop that is covered


def test_one_that_knows_is_believed(check):
    """Dark pixels are the rectangle's, whose edge the renderer softens by a pixel."""
    figures = check(RegionPredictor(Says(None), CARD), {})
    assert figures["check_seen_iou"] > 0.9
    assert figures["check_unseen_iou"] == 0
    assert json.dumps(figures)  # plain numbers


NOTHING = DisturbOptions(stuff=0, patch=0, shade=0, grain=0)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    faces = torch.rand(6, 3, 112, 112, generator=generator)
    region = torch.zeros(6, 1, 112, 112)
    region[:, :, 70:, 30:80] = 1
    return faces, region


def test_nothing_asked_nothing_changed(batch):
    faces, region = disturb(*batch, NOTHING)
    assert torch.equal(faces, batch[0])
    assert torch.equal(region, batch[1])


def test_the_same_seed_draws_the_same_and_inputs_stay(batch):
    before = [each.clone() for each in batch]
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(disturb(*batch, DisturbOptions(stuff=0.5, patch=0.5)))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])
    assert all(torch.equal(a, b) for a, b in zip(before, batch, strict=True))


def test_the_region_tells_of_every_changed_pixel(batch):
    """Where the region stays 0 a patch or another stuff has changed nothing."""
    torch.manual_seed(0)
    options = DisturbOptions(stuff=1, patch=1, shade=0, grain=0)
    faces, region = disturb(*batch, options)
    bare = (region == 0).expand_as(faces)
    assert torch.equal(faces[bare], batch[0][bare])
    assert 0 <= float(faces.min()) <= float(faces.max()) <= 1
    assert bool((region >= batch[1]).all())
    covered = (batch[1] == 1).expand_as(faces)
    assert float((faces != batch[0])[covered].float().mean()) > 0.95


def test_patches_differ_in_place_and_size(batch):
    torch.manual_seed(0)
    _, region = disturb(batch[0], torch.zeros_like(batch[1]), DisturbOptions(patch=1))
    area = region.flatten(1).mean(1)
    assert float(area.min()) > 0.003
    assert float(area.max()) < 0.45
    assert float(area.std()) > 0.02


def test_refuses_what_is_no_share():
    with pytest.raises(InputError, match=r"disturb\.patch must be from 0 to 1"):
        DisturbOptions(patch=1.5)


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
    nobody, index = torch.full((len(faces),), -1), torch.arange(len(faces))
    batch = FaceBatch(faces, faces, torch.zeros_like(faces[:, :1]), nobody, index)
    batch = replace(batch, real=batch)
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
