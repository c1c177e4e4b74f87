"""Five seconds of fuzzing, in a process that may crash; `make fuzz` takes longer."""

import json
import os
import subprocess
import sys
from pathlib import Path

SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))


def test_readers_refuse_in_words_whatever_they_are_given():
    program = Path(__file__).with_name("campaign.py")
    run = subprocess.run(
        [sys.executable, str(program), "--seconds", str(SECONDS)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr + run.stdout
    found = json.loads(run.stdout)
    assert found["inputs"] > SECONDS
    refused = [name for name in found["outcomes"] if name.endswith("refused")]
    assert len(refused) > 10
