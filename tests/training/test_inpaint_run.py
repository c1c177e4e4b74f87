"""Settings of train-inpaint: presets, what they build, and what is refused."""

from pathlib import Path

import pytest
import torch

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.training.inpaint import PRESETS, build, resolve
from mfrkit.training.options import TrainRequest
from mfrkit.training.world import World


def request(*assignments, preset="small", data=("crops",)):
    return TrainRequest(data=data, output=Path("x"), preset=preset, assignments=assignments)


NETWORKS = {"small": "small", "paper": "paper", "g2d": "small", "g2d-paper": "guided"}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_resolve(preset):
    settings = resolve(request(preset=preset))
    assert settings.model.network == f"completion-{NETWORKS[preset]}"
    assert settings.method.looks == (preset != "paper")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("method.game=chess", "'chess'; known: hinge, wasserstein"),
        ("fit.betas=[0.5]", "expected 2 values"),
        ("fit.betas=[0.5, 1.0]", "fit.betas must be from 0 to below 1"),
        ("views.rotation=3", "views.rotation must be 0"),
    ],
)
def test_unusable_settings_are_refused(assignment, message):
    with pytest.raises(InputError, match=message):
        resolve(request(assignment))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.network=mobilefacenet", "is no completion generator"),
        ("model.size=8", "multiple of 16 from 32, not 8"),
    ],
)
def test_unusable_parts_are_refused(noise_crops, assignment, message):
    made = request(assignment, data=(str(noise_crops),))
    with pytest.raises(InputError, match=message):
        build(made, resolve(made), torch.device("cpu"), World(), Console(-1))
