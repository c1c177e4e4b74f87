"""`mfrkit train-region` and what it makes, as a user runs them."""

import json

import pytest

from mfrkit.io.checkpoints import read_header
from mfrkit.io.embeddings import EmbeddingReader

LINE = (
    *("train-region", "-b", "4", "-j", "1", "--set", "fit.save_every=1", "--set", "check.faces=1"),
    *("--set", "model.widths=[4, 8]", "--set", "fit.warmup=0"),
)


@pytest.fixture
def here(mfr, noise_crops):
    """The commands in a folder that holds crops/, twelve faces of nobody known."""
    assert noise_crops.parent == mfr.folder
    for crop in noise_crops.rglob("*.png"):
        crop.rename(noise_crops / crop.name)
    return mfr


def test_a_predictor_is_made_and_used(here):
    run = here(*LINE, "--steps", "2", check=0)
    assert b"error of the regions" in run.stderr
    card = read_header(here.folder / "region.safetensors").card
    assert (card["task"], card["architecture"], card["name"]) == ("region", "region", "region")
    assert {"check_seen_iou", "check_unseen_iou", "check_false_alarm"} <= card["metrics"].keys()
    assert card["data"] == "11 crops: crops"  # one is held out
    assert card["training"].startswith("mfrkit train-region -b 4")
    history = (here.folder / "region.run" / "history.jsonl").read_text().splitlines()
    assert {"pixel", "dice", "loss"} <= json.loads(history[0]).keys()
    here("embed", "--detect-mask", "--region-model", "region.safetensors", check=0)
    with EmbeddingReader(here.folder / "embeddings.h5") as file:
        assert set(file.masked.tolist()) <= {0, 1}


def test_one_goes_on_from_another_with_really_masked_faces(here):
    here(*LINE, "--steps", "1", "-o", "drawn.safetensors", check=0)
    more = ("--init", "drawn.safetensors", "--real", "crops", "--set", "real.count=3")
    wide = ("--set", "model.widths=[16, 32]")  # those of the file to start from hold
    teacher = ("--set", "real.teacher=drawn.safetensors", "--set", "real.sure=0.51")
    run = here(*LINE, *wide, *more, *teacher, "--steps", "2", "-o", "worn.safetensors", check=0)
    assert b"real: 12 really masked faces" in run.stderr
    card = read_header(here.folder / "worn.safetensors").card
    assert card["arguments"] == {"widths": [4, 8]}
    assert card["config"]["real"]["data"] == ["crops"]
    history = (here.folder / "worn.run" / "history.jsonl").read_text().splitlines()
    assert {"pixel", "dice", "real", "loss"} <= json.loads(history[0]).keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--real", "nowhere"), "nowhere"),
        (("--init", "arcface"), "arcface"),
        (("--init", "meer"), "meer: is a meer, no network to begin with"),
        (("--real", "crops", "--set", "real.teacher=arcface"), "arcface"),
        (("--real", "crops", "--set", "real.sure=2"), "real.sure"),
    ],
)
def test_what_cannot_be_started_from_or_learnt_of(here, options, message):
    run = here(*LINE, *options, "--steps", "1")
    assert run.returncode == 2
    assert message in run.stderr.decode().splitlines()[-1]
    assert not (here.folder / "region.safetensors").exists()


def test_a_dry_run_writes_nothing(here):
    run = here(*LINE, "--dry-run", check=0)
    for part in ("would train a region predictor", "student: ", "11 crops", " on cpu"):
        assert part in run.stderr.decode()
    assert [p.name for p in here.folder.iterdir()] == ["crops"]


def test_inpaint_says_what_makes_its_input(mfr):
    run = mfr("inpaint")
    assert run.returncode == 2
    assert b"masked: not here yet; mfrkit synth-mask makes it" in run.stderr
