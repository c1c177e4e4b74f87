import os
import subprocess
import sys

import pytest

from mfrkit.errors import InputError
from mfrkit.io.lock import held

HOLDER = """
import sys, time
from pathlib import Path
from mfrkit.io.lock import held
sys.argv = ["mfrkit", "pack", "a b"]
with held(Path(sys.stdin.readline().strip())):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `out.h5` until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(f"{tmp_path / 'out.h5'}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_in_a_line_that_names_the_first(tmp_path, holder):
    with pytest.raises(InputError) as caught, held(tmp_path / "out.h5"):
        pass
    text = str(caught.value)
    assert f"out.h5: is being written by process {holder.pid} (mfrkit pack 'a b')" in text
    assert "\n" not in text


def test_a_lock_goes_with_the_run_however_that_ends(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert list(tmp_path.iterdir()), "a killed run leaves the name of its lock"
    with held(tmp_path / "out.h5"):
        pass
    assert not list(tmp_path.iterdir())


def test_those_that_share_keep_out_only_who_wants_it_alone(tmp_path):
    lock = tmp_path / ".lock"
    with held(tmp_path, lock, shared=True):
        with held(tmp_path, lock, shared=True):
            pass
        assert lock.exists(), "the first still holds it"
        with pytest.raises(InputError), held(tmp_path, lock):
            pass
    with held(tmp_path, lock):
        pass
    assert not lock.exists()


def test_long_names_have_short_locks(tmp_path):
    with held(tmp_path / ("x" * 255)):
        assert len(os.listdir(tmp_path)[0]) < 100
