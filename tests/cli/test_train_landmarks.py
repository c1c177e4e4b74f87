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
def here(mfr, wide_crops):
    """The commands in a folder of wide crops of nobody known, twelve of five portraits."""
    lines = []
    for copy in range(3):
        for line in (
            (wide_crops / "manifest.jsonl").read_text().splitlines()[: 5 if copy < 2 else 2]
        ):
            record = json.loads(line) | {"identity": None}
            path = mfr.folder / "wide" / f"{copy}{len(lines)}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((wide_crops / record["path"]).read_bytes())
            lines.append(json.dumps(record | {"key": path.stem, "path": path.name}))
    (mfr.folder / "wide" / "manifest.jsonl").write_text("\n".join(lines) + "\n")
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
