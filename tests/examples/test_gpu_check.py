"""The check of a GPU: on a card where there is one, and in its tiny form everywhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "gpu_check.py"


def run(folder, *words, timeout):
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], cwd=folder, capture_output=True, timeout=timeout
    )
    return done, json.loads((folder / "gpu_check.json").read_text())["steps"]


def test_the_script_itself(tmp_path):
    done, steps = run(tmp_path, "--device", "cpu", "--tiny", "--minutes", "30", timeout=900)
    assert done.returncode == 0, done.stdout.decode()
    assert len(steps) == 11
    assert all(step["ok"] is not False and "seconds" in step for step in steps), steps


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_card_agrees_with_the_processor(tmp_path):
    done, steps = run(tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout.decode()
    assert steps
