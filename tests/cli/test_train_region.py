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
    """The console script in a folder that holds crops/, twelve faces of nobody known."""
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


def test_a_dry_run_writes_nothing(here):
    run = here(*LINE, "--dry-run", check=0)
    for part in ("would train a region predictor", "student: ", "11 crops", " on cpu"):
        assert part in run.stderr.decode()
    assert [p.name for p in here.folder.iterdir()] == ["crops"]


def test_inpaint_says_what_makes_its_input(mfr):
    run = mfr("inpaint")
    assert run.returncode == 2
    assert b"masked: not here yet; mfrkit synth-mask makes it" in run.stderr
