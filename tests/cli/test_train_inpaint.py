"""`mfrkit train-inpaint` as a user runs it: whole, interrupted, continued."""

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mfrkit.io.checkpoints import read_header
from mfrkit.models.registry import load_network

FAST = (
    *("--steps", "4", "-b", "2", "-j", "1", "--set", "fit.warmup=0", "--set", "fit.save_every=1"),
    *("--set", "method.critic_width=4", "--set", "method.critic_from=0.5", "--set", "fit.ema=0.5"),
)


@pytest.fixture
def here(mfr, noise_crops):
    """The console script in a folder that holds crops/ of twelve strangers."""
    for path in sorted(noise_crops.rglob("*.png")):
        path.rename(noise_crops / path.name)
    for folder in noise_crops.iterdir():
        if folder.is_dir():
            folder.rmdir()
    return mfr


def same(a: Path, b: Path) -> bool:
    one, two = load_file(a), load_file(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_a_generator_is_made_and_continued_bit_for_bit(here):
    line = ("train-inpaint", *FAST, "--set", "fit.check_every=2", "--set", "fit.log_every=1")
    run = here(*line, check=0)
    assert b"feature distance" in run.stderr
    output, folder = here.folder / "completion.safetensors", here.folder / "completion.run"
    card = read_header(output).card
    assert (card["task"], card["architecture"]) == ("completion", "completion-small")
    assert 0 < card["metrics"]["check_psnr"] < 100
    network, _ = load_network(str(output))
    face, region = torch.rand(1, 3, 112, 112), torch.zeros(1, 1, 112, 112)
    with torch.no_grad():
        assert torch.equal(network(face, region), face)
    assert sorted(p.name for p in folder.glob("samples-*.png")) == [
        "samples-00000002.png",
        "samples-00000004.png",
    ]
    history = [json.loads(text) for text in (folder / "history.jsonl").read_text().splitlines()]
    played = {row["step"]: "critic_loss" in row for row in history if "loss" in row}
    assert played == {1: False, 2: False, 3: True, 4: True}

    process = here.start(*line, "-o", "cut.safetensors")
    until = time.monotonic() + 120
    while not list((here.folder / "cut.run").glob("checkpoint-*.pt")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    here(*line, "-o", "cut.safetensors", "--resume", check=0)
    assert same(output, here.folder / "cut.safetensors")


def test_dry_run_shows_settings_and_writes_nothing(here):
    run = here("train-inpaint", "--dry-run", "-b", "4", "--set", "method.style=0.5", check=0)
    text = run.stderr.decode()
    for part in ("student: 2,191,107 parameters", "critics:", "method.style = 0.5", "hours on cpu"):
        assert part in text
    assert [p.name for p in here.folder.iterdir()] == ["crops"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--preset", "smal"], b"did you mean small"),
        (["--init", "arcface"], b"is mobilefacenet, not completion-small"),
    ],
)
def test_mistakes_stop_early_with_one_line(here, line, message):
    run = here("train-inpaint", *line)
    assert run.returncode == 2, run.stderr
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not (here.folder / "completion.safetensors").exists()
