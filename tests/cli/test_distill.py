"""`mfrkit distill` as a user runs it: whole, interrupted, killed, and in two processes."""

import json
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mfrkit.io.checkpoints import read_header
from mfrkit.models.iresnet import iresnet18
from mfrkit.models.loading import load_recogniser

FAST = ("--steps", "5", "-b", "4", "-j", "1", "--set", "fit.save_every=1", "--set", "fit.warmup=0")


@pytest.fixture
def here(mfr, noise_crops):
    """The console script in a folder that holds crops/."""
    assert noise_crops.parent == mfr.folder
    return mfr


def same(a: Path, b: Path) -> bool:
    one, two = load_file(a), load_file(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def last_step(folder: Path) -> int:
    found = sorted(folder.glob("checkpoint-*.pt"))
    return int(found[-1].stem.split("-")[1]) if found else 0


def wait_for_step(process, folder: Path, step: int) -> None:
    until = time.monotonic() + 90
    while last_step(folder) < step:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_student_is_made_and_can_be_used(here):
    run = here("distill", *FAST, "--set", "card.licence=mine", check=0)
    assert b"5 steps in" in run.stderr
    student = here.folder / "student.safetensors"
    card = read_header(student).card
    assert (card["architecture"], card["licence"]) == ("mobilefacenet", "mine")
    assert card["training"].startswith("mfrkit distill --steps 5")
    assert card["config"]["fit"]["steps"] == 5
    assert "arXiv:2112.05646" in card["paper"]
    history = (here.folder / "student.run" / "history.jsonl").read_text().splitlines()
    assert {"step", "loss", "lr", "data_wait"} <= json.loads(history[-1]).keys()
    assert list((here.folder / "student.run").glob("events.out.tfevents.*"))
    assert not torch.equal(
        load_recogniser(str(student)).state_dict()["network.block.00.0.weight"],
        load_recogniser("arcface").state_dict()["network.block.00.0.weight"],
    )
    here("embed", "--model", "student.safetensors", check=0)
    again = here("distill", *FAST)
    assert again.returncode == 2
    assert b"--force replaces it" in again.stderr


def test_killed_and_interrupted_runs_end_like_a_whole_one(here):
    """One run goes through; the other is killed, then interrupted, then continued to the end."""
    here.apart("distill", *FAST, "-o", "whole.safetensors", check=0)
    folder, line = here.folder / "cut.run", ("distill", *FAST, "-o", "cut.safetensors")
    process = here.start(*line)
    wait_for_step(process, folder, random.choice([1, 2]))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (here.folder / "cut.safetensors").exists()
    refused = here(*line)
    assert refused.returncode == 2
    assert b"--resume continues it" in refused.stderr
    other = here(*line, "--resume", "--lr", "0.5")
    assert other.returncode == 2
    assert b"was begun with fit" in other.stderr
    at = last_step(folder)
    process = here.start(*line, "--resume")
    wait_for_step(process, folder, at + 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == (130 if last_step(folder) < 5 else 0)
    here.apart(*line, "--resume", check=0)
    assert same(here.folder / "whole.safetensors", here.folder / "cut.safetensors")
    assert b"complete already" in here(*line, "--resume", check=0).stderr


def test_dry_run_shows_settings_and_writes_nothing(here):
    (here.folder / "my.toml").write_text("[method]\nunmasked = 2.5\n")
    run = here("distill", "--dry-run", "--config", "my.toml", "--lr", "0.125", "-b", "6", check=0)
    text = run.stderr.decode()
    for part in (
        "method.unmasked = 2.5",
        "fit.lr = 0.125",
        "student: 1,292,992 parameters",
        "12 crops, 3 identities",
        "6 steps of 6 faces",
        " on cpu",
    ):
        assert part in text
    assert sorted(p.name for p in here.folder.iterdir()) == ["crops", "my.toml"]


def test_labels_several_teachers_and_a_cache(here):
    """Two teachers, one of them InsightFace's: the projection and the classifier stay behind."""
    torch.manual_seed(0)
    torch.save(iresnet18(embedding_dim=32).state_dict(), here.folder / "r18.pth")
    line = (
        *("distill", "crops", "--steps", "2", "-b", "4", "-j", "1"),
        *("--teacher", "arcface", "--teacher", "r18.pth", "--teacher-cache", "t.h5"),
        *("--set", "method.identity=0.1", "--set", "method.pairs=0.5"),
    )
    first = here(*line, "-o", "a.safetensors", check=0)
    assert b"t.h5: templates of 12 crops" in first.stderr
    second = here(*line, "-o", "b.safetensors", check=0)
    assert b"t.h5: templates" not in second.stderr
    assert same(here.folder / "a.safetensors", here.folder / "b.safetensors")
    names = set(load_file(here.folder / "a.safetensors"))
    assert names == set(load_recogniser("arcface").network.state_dict())


def test_checks_choose_the_exported_weights(here):
    pairs = [
        f"p{p}/p{p}_{i} p{q}/p{q}_{i} {int(p == q)}"
        for p in range(3)
        for q in (p, 2 - p // 2)
        for i in range(2)
    ]
    (here.folder / "pairs.txt").write_text("\n".join(pairs) + "\n")
    run = here(
        "distill",
        *FAST,
        "--pairs",
        "pairs.txt",
        "--pair-crops",
        "crops",
        "--set",
        "fit.check_every=2",
        check=0,
    )
    assert b"mean EER" in run.stderr
    metrics = read_header(here.folder / "student.safetensors").card["metrics"]
    assert 0 <= metrics["check_error"] <= 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--teacher", "arcfac"], b"did you mean arcface"),
        (["--method", "magic"], b"unknown method"),
        (
            ["--student", "iresnet18", "--init", "arcface"],
            b"is mobilefacenet, the student iresnet18",
        ),
        (["--pair-crops", "crops"], b"--pair-crops needs --pairs"),
        (["--set", "fit.lr=-1"], b"fit.lr must be positive"),
        (["nowhere"], b"no such file or folder"),
        (["--pairs", "none.txt"], b"no such pair list"),
        (["--set", "method.identity=1", "flat"], b"needs labels"),
        (["--set", "method.attention=1", "--teacher-cache", "t.h5"], b"choose one of them"),
        (["--set", "method.attention=1", "--set", "method.stage=x"], b"0 modules are named so"),
    ],
)
def test_mistakes_stop_early_with_one_line(here, line, message):
    flat = here.folder / "flat"
    flat.mkdir()
    (flat / "a.png").write_bytes((here.folder / "crops" / "p0" / "p0_0.png").read_bytes())
    run = here("distill", *line)
    assert run.returncode == 2, run.stderr
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not (here.folder / "student.safetensors").exists()


def test_two_processes_learn_what_one_does(here):
    """The same global batch, dealt out to two, gives the same losses and weights."""
    # Two steps: rounding differs between the two, and the network magnifies it step by step.
    line = [
        "distill",
        "--steps",
        "2",
        "-b",
        "4",
        "-j",
        "1",
        "--lr",
        "0.02",
        "--set",
        "fit.warmup=0",
    ]
    line += ["--set", "fit.optimiser=sgd", "--set", "fit.log_every=1", "--set", "fit.save_every=1"]
    line += ["--set", "method.identity=0.05", "--set", "method.margin=arcface"]
    here(*line, "-o", "one.safetensors", check=0)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "mfrkit", *line, "-o", "two.safetensors"),
        ],
        cwd=here.folder,
        env=here.environment,
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    one, two = (load_file(here.folder / f"{name}.safetensors") for name in ("one", "two"))
    start = load_recogniser("arcface").network.state_dict()
    moved = sum(float((one[n] - start[n]).square().sum()) for n in one) ** 0.5
    apart = sum(float((one[n] - two[n]).square().sum()) for n in one) ** 0.5
    assert apart < 0.02 * moved
    first, second = (
        [json.loads(line)["loss"] for line in (here.folder / name).read_text().splitlines()]
        for name in ("one.run/history.jsonl", "two.run/history.jsonl")
    )
    assert second == pytest.approx(first, rel=1e-3)
    # What two processes have begun, one can end.
    (here.folder / "two.safetensors").unlink()
    (here.folder / "two.run" / "checkpoint-00000002.pt").unlink()
    here(*line, "-o", "two.safetensors", "--resume", check=0)
    again = load_file(here.folder / "two.safetensors")
    assert sum(float((again[n] - two[n]).square().sum()) for n in one) ** 0.5 < 0.02 * moved


def test_a_process_that_is_killed_ends_the_others_in_one_line(here):
    """As `torchrun` starts them: each is told its number, and where the first one listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    here.environment |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = []
    for rank in "01":
        here.environment["RANK"] = rank
        processes.append(here.start("distill", "-o", "two.safetensors", *FAST, "--steps", "1000"))
    first, second = processes
    wait_for_step(first, here.folder / "two.run", 1)
    second.kill()
    second.communicate()
    _, said = first.communicate(timeout=60)
    assert first.returncode == 1
    *_, saved, last = said.decode().splitlines()
    assert re.fullmatch(r"mfrkit: step \d+ is saved in two.run/checkpoint-\d+.pt", saved)
    assert last.startswith("mfrkit: another process of the run is gone; to go on: under torchrun")
    assert last.endswith("--resume")
