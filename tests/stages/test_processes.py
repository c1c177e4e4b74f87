"""Worker processes: what they give back, and how they end."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from mfrkit.errors import InputError, MfrError
from mfrkit.stages.flow import in_order
from mfrkit.stages.processes import Processes


class Doubler:
    """Doubles numbers; counts how many it has done; misbehaves on request."""

    def __init__(self, refuses=False):
        if refuses:
            raise InputError("not with these options")
        self.done = 0

    def __call__(self, number):
        self.done += 1
        if number == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if number == "fail":
            raise InputError("cannot double that")
        return 2 * number, self.done, os.getpid()


def map_in_order(numbers, workers=2, build=Doubler):
    with Processes(build, workers, ["tests_need_nothing_loaded"]) as processes:
        return list(in_order(processes.submit, numbers, ahead=4))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_results_come_in_order_from_workers_that_were_built_once(method, monkeypatch):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: [method])
    results = map_in_order(range(40))
    assert [double for double, _, _ in results] == [2 * n for n in range(40)]
    workers = {process for _, _, process in results}
    assert 1 <= len(workers) <= 2
    assert os.getpid() not in workers
    for worker in workers:
        counts = [done for _, done, process in results if process == worker]
        assert counts == list(range(1, len(counts) + 1))


def test_an_error_of_the_work_or_of_building_it_arrives_as_it_is():
    with pytest.raises(InputError, match="cannot double"):
        map_in_order([1, "fail", 2])
    with pytest.raises(InputError, match="these options"):
        map_in_order([1], build=partial(Doubler, refuses=True))


def test_a_killed_worker_is_one_line_that_says_what_to_do():
    with pytest.raises(MfrError, match=r"killed.*--resume"):
        map_in_order([1, "die", 2, 3], workers=1)


def test_ctrl_c_is_for_the_program_not_for_its_workers():
    with Processes(Doubler, 1) as processes:
        _, _, worker = processes.submit(1).result()
        os.kill(worker, signal.SIGINT)
        assert processes.submit(2).result() == (4, 2, worker)


SCRIPT = """
import os, time
from mfrkit.stages.processes import Processes

def build():
    return lambda number: os.getpid()

if __name__ == "__main__":
    with Processes(build, 1) as processes:
        print(processes.submit(7).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_killed_program(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        number = int(process.stdout.readline())
        assert os.path.exists(f"/proc/{number}")
        process.kill()
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{number}"):
        assert time.monotonic() < end, "the worker has outlived its program"
        time.sleep(0.02)
