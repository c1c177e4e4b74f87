"""MEER from `distill` to `embed` and `inpaint`, as a user runs them."""

import json

import pytest

from mfrkit.io.checkpoints import read_header
from mfrkit.io.embeddings import EmbeddingReader


@pytest.fixture
def here(mfr, noise_crops):
    """The commands in a folder that holds crops/."""
    assert noise_crops.parent == mfr.folder
    return mfr


def test_one_file_is_made_and_serves_three_commands(here):
    """Three steps are one of each phase."""
    (here.folder / "my.toml").write_text("[method]\ndecoder_from = 0.3\njoint_from = 0.6\n")
    here(
        *("distill", "--method", "meer", "--config", "my.toml", "-o", "meer.safetensors"),
        *("--steps", "3", "-b", "2", "-j", "1", "--set", "fit.log_every=1"),
        *("--set", "method.critic_from=0.6", "--set", "method.critic_width=4"),
        check=0,
    )
    card = read_header(here.folder / "meer.safetensors").card
    assert (card["task"], card["also"]) == ("recognition", ["completion", "region"])
    assert "arXiv:2311.11512" in card["paper"]
    lines = (here.folder / "meer.run" / "history.jsonl").read_text().splitlines()
    one, two, three = (json.loads(line).keys() for line in lines)
    assert {"template", "mask", "decorrelation"} <= one
    assert {"hole", "features", "preserving"} <= two
    assert not two & {"template", "critic_loss"}
    assert one | two | {"critic_loss", "adversarial"} <= three

    model = ("--model", "meer.safetensors")
    here("embed", *model, "--detect-mask", "--region-model", "meer.safetensors", check=0)
    with EmbeddingReader(here.folder / "embeddings.h5") as file:
        assert (file.count, file.dim) == (12, 192)
        assert set(file.masked.tolist()) <= {0, 1}
    here("inpaint", "crops", *model, "--save-region", check=0)
    recipe = json.loads((here.folder / "completed" / "run.json").read_text())["options"]
    assert recipe["region_model"] == recipe["model"] == "meer.safetensors"
    assert len(list((here.folder / "completed" / "_regions").rglob("*.png"))) == 12


def test_views_that_differ_in_more_than_the_mask_are_refused(here):
    run = here("distill", "--method", "meer", "--set", "views.shift=0.01")
    assert run.returncode == 2
    assert b"views.shift must be 0" in run.stderr
    assert len(run.stderr.splitlines()) == 1
