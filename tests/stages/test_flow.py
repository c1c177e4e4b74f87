"""How items move through a stage; what worker processes give back, and how they end."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfrkit.errors import ImageError, InputError, MfrError, ShapeError
from mfrkit.stages.flow import (
    BATCH_PIXELS,
    PIXELS_AHEAD,
    Processes,
    batched,
    in_order,
    isolated,
    ordered_map,
)


def test_results_come_in_input_order_although_they_finish_in_another():
    def slow_first(x):
        time.sleep(0.05 if x == 0 else 0)
        return x

    assert list(ordered_map(slow_first, range(20), workers=4)) == list(range(20))


def test_inputs_are_taken_lazily():
    taken = []

    def inputs():
        for x in range(1000):
            taken.append(x)
            yield x

    results = ordered_map(lambda x: x, inputs(), workers=2)
    next(results)
    assert len(taken) <= 5
    results.close()


@pytest.mark.parametrize(("cost", "most"), [(PIXELS_AHEAD + 1, 1), (PIXELS_AHEAD // 3, 3), (1, 64)])
def test_memory_does_not_grow_with_workers(cost, most):
    begun, ended = [], 0
    results = ordered_map(begun.append, range(200), workers=32, weight=lambda _: cost)
    for _ in results:
        ended += 1
        assert len(begun) - ended < most
    assert ended == 200


def test_an_error_comes_in_its_turn_and_stops_the_rest():
    started = []

    def fail_at_three(x):
        started.append(x)
        if x == 3:
            raise ValueError("three")
        return x

    results = ordered_map(fail_at_three, range(1000), workers=1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(started) < 10


def test_no_thread_outlives_the_iteration():
    before = threading.active_count()
    results = ordered_map(lambda x: x, range(100), workers=4)
    next(results)
    results.close()
    assert threading.active_count() == before


@given(
    st.lists(st.integers(1, 20), max_size=40), st.integers(1, 6), st.integers(1, 40), st.booleans()
)
def test_batches_keep_order_and_limits(costs, size, limit, weighted):
    weight = (lambda x: x) if weighted else None
    groups = list(batched(costs, size, weight=weight, limit=limit))
    assert [x for group in groups for x in group] == costs
    assert all(1 <= len(group) <= size for group in groups)
    if weighted:
        assert all(sum(group) <= limit or len(group) == 1 for group in groups)


def test_large_photos_travel_alone():
    assert [len(batch) for batch in batched([BATCH_PIXELS // 2] * 5, 64, weight=int)] == [2, 2, 1]


def test_a_full_batch_does_not_wait_for_the_next_input():
    def inputs():
        yield from (1, 2)
        pytest.fail("asked for an input it did not need")

    assert next(batched(inputs(), 2)) == [1, 2]


def in_batches(size, bad, calls=None):
    """Work that decodes ahead, takes batches, and fails on some inputs, each with its batch."""

    def work(inputs):
        for batch in batched(ordered_map(str, inputs, workers=2), size):
            if calls is not None:
                calls.append(len(batch))
            for each in batch:
                if each in bad:
                    raise bad[each]
            yield from batch

    return work


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_an_input_the_work_fails_on_costs_no_other(bad, size):
    work = in_batches(size, {str(each): ValueError(each) for each in bad})
    results = list(isolated(work, range(50), lambda each, error: (each, str(error))))
    assert results == [(n, str(n)) if n in bad else str(n) for n in range(50)]


def test_the_input_at_fault_is_found_by_halves():
    calls = []
    work = in_batches(64, {"77": ValueError("x")}, calls)
    assert list(isolated(work, range(128), lambda *_: "bad")).count("bad") == 1
    assert len(calls) < 20


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), MemoryError(), InputError("no such model")]
)
def test_what_concerns_the_run_ends_it(error):
    results = isolated(in_batches(2, {"3": error}), range(9), lambda *_: "bad")
    done = []
    with pytest.raises(type(error)):
        done.extend(results)
    assert "bad" not in done


@pytest.mark.parametrize(
    "error", [OSError(errno.ENAMETOOLONG, "too long"), ImageError("no"), ShapeError("no")]
)
def test_what_concerns_one_input_does_not_end_the_run(error):
    results = list(isolated(in_batches(4, {"3": error}), range(9), lambda *_: "bad"))
    assert results == ["0", "1", "2", "bad", *"45678"]


def test_an_error_of_the_inputs_comes_behind_the_last_result():
    def inputs():
        yield from range(5)
        raise InputError("line 6")

    done = []
    with pytest.raises(InputError, match="line 6"):
        done.extend(isolated(in_batches(3, {"1": ValueError()}), inputs(), lambda *_: "bad"))
    assert done == ["0", "bad", "2", "3", "4"]


def test_a_failure_that_is_no_inputs_is_raised():
    def work(inputs):
        raise ValueError("not built")

    with pytest.raises(ValueError, match="not built"):
        list(isolated(work, range(3), lambda *_: "bad"))


def test_what_came_before_an_error_is_a_batch():
    def inputs():
        yield from range(5)
        raise ValueError("six")

    batches = batched(inputs(), 3)
    assert [next(batches), next(batches)] == [[0, 1, 2], [3, 4]]
    with pytest.raises(ValueError, match="six"):
        next(batches)


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
from mfrkit.stages.flow import Processes

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
