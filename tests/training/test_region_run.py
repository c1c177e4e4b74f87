"""What a region run is made of: settings, held-out faces, and how it is measured."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.region import RegionPredictor
from mfrkit.training.checks import RegionCheck
from mfrkit.training.data import open_train_set
from mfrkit.training.options import TrainRequest
from mfrkit.training.region import PRESETS, resolve

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
