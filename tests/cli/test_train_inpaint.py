"""`mfrkit train-inpaint` as a user runs it: whole, interrupted, continued."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mfrkit.io.checkpoints import read_header
from mfrkit.models.cards import ModelCard
from mfrkit.models.registry import build_network, load_network, save_network

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


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_generator_is_made_and_continued_bit_for_bit(here):
    line = ("train-inpaint", *FAST, "--set", "fit.check_every=2", "--set", "fit.log_every=1")
    run = here.apart(*line, check=0)
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
    played = {row["step"]: "critic_loss" in row for row in history(folder) if "loss" in row}
    assert played == {1: False, 2: False, 3: True, 4: True}

    process = here.start(*line, "-o", "cut.safetensors")
    until = time.monotonic() + 120
    while not list((here.folder / "cut.run").glob("checkpoint-*.pt")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    here.apart(*line, "-o", "cut.safetensors", "--resume", check=0)
    assert same(output, here.folder / "cut.safetensors")


def test_dry_run_shows_settings_and_writes_nothing(here):
    run = here("train-inpaint", "--dry-run", "-b", "4", "--set", "method.style=0.5", check=0)
    text = run.stderr.decode()
    for part in ("student: 2,191,107 parameters", "critics:", "method.style = 0.5", " on cpu"):
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
    # The corrected command needs no --force.
    assert [p.name for p in here.folder.iterdir()] == ["crops"]


def test_a_start_keeps_its_own_shape(here):
    shape = {"widths": [16, 16, 16, 16], "heads": 2}
    card = ModelCard(
        name="tiny", task="completion", architecture="completion-small", arguments=shape
    )
    path = here.folder / "tiny.safetensors"
    save_network(path, build_network("completion-small", shape), card)
    run = here("train-inpaint", "--dry-run", "-b", "4", "--init", path.name, check=0)
    count = sum(p.numel() for p in load_network(str(path))[0].parameters())
    assert f"student: {count:,} parameters".encode() in run.stderr


def test_two_processes_learn_what_one_does(here):
    """Holes of one size, so that a pixel counts alike in either share of the batch.

    The recogniser does not look on, for each process draws by itself how far it shifts the faces.
    """
    line = [
        *("train-inpaint", "--steps", "2", "-b", "4", "-j", "1", "--lr", "0.02"),
        *("--set", "fit.warmup=0", "--set", "fit.optimiser=sgd", "--set", "fit.log_every=1"),
        *("--set", "method.critic_width=4", "--set", "method.critic_from=0"),
        *("--set", "method.identity=0", "--set", "method.features=0"),
        *("--set", "fit.save_every=1", "--set", "fit.check_every=1"),
        *("--set", "masks.types=surgical", "--set", "masks.coverage=above"),
        *("--set", "masks.jitter=0", "--set", "masks.probability=1"),
    ]
    here(*line, "-o", "one.safetensors", check=0)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "mfrkit", *line, "-o", "two.safetensors"),
        ],
        cwd=here.folder,
        env=here.environment,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    rows = [history(here.folder / f"{name}.run") for name in ("one", "two")]
    assert [row.keys() for row in rows[1]] == [row.keys() for row in rows[0]]
    for name in ("loss", "critic_loss"):
        wanted, found = ([row[name] for row in each if name in row] for each in rows)
        assert found == pytest.approx(wanted, rel=2e-3)
    begun, one, two = (
        torch.load(here.folder / name, weights_only=True)["task"]
        for name in (
            "one.run/checkpoint-00000001.pt",
            "one.run/checkpoint-00000002.pt",
            "two.run/checkpoint-00000002.pt",
        )
    )
    for part in ("student.", "critics."):
        names = [name for name in one if name.startswith(part) and one[name].is_floating_point()]
        moved = sum(float((one[name] - begun[name]).square().sum()) for name in names)
        apart = sum(float((one[name] - two[name]).square().sum()) for name in names)
        assert 0 < apart < 0.02**2 * moved
