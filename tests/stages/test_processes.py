"""Worker processes: what they give back, and how they end."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
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


SCRIPT = """
import time
from mfrkit.stages.processes import Processes
from own_work import build
print("loaded", flush=True)
with Processes(build, 1) as processes:
    print(*processes.submit(7).result(), flush=True)
    {then}
"""
OWN_WORK = """
import os
def build():
    return lambda number: (number, os.getpid())
"""


def run_script(folder, then):
    """Start a program without a guard round its main part; its worker says its own number."""
    (folder / "own_work.py").write_text(OWN_WORK)
    script = folder / "unguarded.py"
    script.write_text(SCRIPT.format(then=then))
    return subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    with run_script(tmp_path, "pass") as process:
        loaded, seven, worker = process.stdout.read().split()
    assert (process.returncode, loaded, seven) == (0, "loaded", "7")
    assert int(worker) != process.pid


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_killed_program(tmp_path):
    with run_script(tmp_path, "time.sleep(60)") as process:
        _, said = process.stdout.readline(), process.stdout.readline()
        number = int(said.split()[1])
        assert os.path.exists(f"/proc/{number}")
        process.kill()
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{number}"):
        assert time.monotonic() < end, "the worker has outlived its program"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal reaches a process there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_worker_has_started(number, monkeypatch):
    """Half started, a worker would print a traceback once its program has gone."""
    order = []

    def start_slowly(self):
        os.kill(os.getpid(), number)
        order.append("started")
        return real(self)

    real = ProcessPoolExecutor._adjust_process_count
    monkeypatch.setattr(ProcessPoolExecutor, "_adjust_process_count", start_slowly)
    usual = signal.signal(number, lambda *_: order.append("answered"))
    try:
        with Processes(Doubler, 1) as processes:
            assert processes.submit(2).result()[0] == 4
    finally:
        signal.signal(number, usual)
    assert order == ["started", "answered"]
