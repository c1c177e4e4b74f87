"""The region method learns where masks are."""

import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.region import DisturbOptions, RegionOptions, RegionTask
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
