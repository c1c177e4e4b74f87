"""`mfrkit train-landmarks` and what it makes, as a user runs them."""

import json

import pytest
import torch

from mfrkit.io.checkpoints import read_header
from mfrkit.models.registry import load_network

LINE = (
    *("train-landmarks", "wide", "-b", "4", "-j", "1", "--set", "fit.save_every=1"),
    *("--set", "check.faces=1", "--set", "fit.warmup=0", "--set", "fit.ema=0"),
)


@pytest.fixture
def here(mfr, photos):
    """The console script in a folder of wide crops of nobody known, twelve of five portraits."""
    for copy in range(3):
        for number, photo in enumerate(sorted(photos.rglob("*.jpg"))[: 5 if copy < 2 else 2]):
            path = mfr.folder / "photos" / f"{copy}{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(photo.read_bytes())
    mfr("align", "photos", "-o", "wide", "--size", "224", "--margin", "0.5", check=0)
    return mfr


def test_a_network_is_taught_and_continued(here):
    run = here(*LINE, "--steps", "2", "--real", "wide", "-o", "whole.safetensors", check=0)
    assert b"upper vertices, of the distance between the eyes" in run.stderr
    card = read_header(here.folder / "whole.safetensors").card
    assert (card["task"], card["architecture"], card["name"]) == ("landmarks", "facemesh", "whole")
    assert {"check_seen_upper", "check_none_hidden_twice"} <= card["metrics"].keys()
    assert card["data"].startswith("23 crops: wide")  # one is held out
    history = (here.folder / "whole.run" / "history.jsonl").read_text().splitlines()
    assert {"upper", "hidden", "fit", "score", "loss"} <= json.loads(history[0]).keys()
    taught, given = (
        load_network(str(here.folder / "whole.safetensors"))[0],
        load_network("facemesh")[0],
    )
    assert torch.equal(taught.mean, given.mean)
    assert not torch.equal(taught.mesh.weight, given.mesh.weight)


def test_a_dry_run_writes_nothing(here):
    before = sorted(here.folder.iterdir())
    run = here(*LINE, "--dry-run", check=0)
    for part in ("would teach a mesh network", "student: 581,197", "11 crops", " on cpu"):
        assert part in run.stderr.decode()
    assert sorted(here.folder.iterdir()) == before


def test_a_model_that_is_no_mesh_network_is_refused(here):
    run = here(*LINE, "--start", "region", "--steps", "1")
    assert run.returncode == 2
    assert b"region: is a region, no mesh network to begin with" in run.stderr
