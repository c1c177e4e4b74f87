"""What a shard gets of a cluster, and the work on one."""

import os
import socket
import threading
from pathlib import Path

import pytest

from mfrkit.cluster.tasks import ShardConsole, ShardJob, Share, joined, perform, share_of, when_free
from mfrkit.errors import HeldError, InputError, MfrError
from mfrkit.io.files import held


def node(cpus, gpus=0, alive=True):
    resources = {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "share"),
    [
        ([node(4), node(2)], None, "auto", Share(1, 0, 6)),
        ([node(4), node(2)], 2, "auto", Share(2, 0, 3)),
        ([node(4), node(8, alive=False)], None, "auto", Share(1, 0, 4)),
        ([node(16, 2), node(64)], None, "auto", Share(8, 1, 2)),
        ([node(16, 2), node(8, 2)], None, "cuda", Share(4, 1, 4)),
        ([node(16, 4)], 8, "cuda", Share(8, 1, 2)),
        ([node(2, 4)], None, "cuda", Share(1, 1, 2)),
        ([node(16, 2)], None, "cpu", Share(1, 0, 16)),
    ],
)
def test_shares(nodes, workers, device, share):
    assert share_of(nodes, workers, device) == share


def test_what_no_node_has_is_refused():
    with pytest.raises(InputError, match="no node of the cluster has a GPU"):
        share_of([node(8)], None, "cuda")
    with pytest.raises(InputError, match="--workers 9: no node"):
        share_of([node(8), node(4)], 9, "cpu")


def test_without_ray_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'mfrkit\[cluster\]'"), joined("local"):
        pass


NODE = socket.gethostname()


def job(stage, folder, version=None):
    more = {} if version is None else {"version": version}
    return ShardJob(stage, None, str(folder), ("mfrkit", "align", "photos"), **more)


@pytest.fixture(autouse=True)
def _same_folder_after(monkeypatch):
    """Let a job change the process as it does on a node."""
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr("sys.argv", ["pytest"])


def test_a_shard_reports_what_it_did_where_the_command_was_given(tmp_path):
    seen, told = [], []

    def stage(_, console):
        seen.append(Path.cwd())
        with console.progress("align", None, done=10) as bar:  # by an earlier attempt
            for status in ("ok", "skipped", "ok"):
                console.record({"status": status})
                bar.update()

    report = perform(job(stage, tmp_path), lambda *counts: told.append(counts))
    assert seen == [tmp_path]
    assert (report.node, report.process) == (NODE, os.getpid())
    assert (report.inputs, report.skipped) == (3, 1)
    assert told[-1] == (13, 1)


def test_a_node_that_lacks_something_says_so_by_name(tmp_path):
    def no_model(_, console):
        raise InputError("mine.safetensors: no such model")

    def no_room(_, console):
        raise OSError(28, "No space left on device", "crops/a.png")

    for bad, said in (
        (job(no_model, tmp_path), "mine.safetensors: no such model"),
        (job(no_room, tmp_path), "crops/a.png: No space left on device"),
        (job(no_model, tmp_path / "elsewhere"), "elsewhere: no such folder"),
        (job(no_model, tmp_path, version="0.0.1"), "the command 0.0.1; install the same"),
    ):
        with pytest.raises(MfrError) as caught:
            perform(bad, lambda *counts: None)
        assert str(caught.value).startswith(f"node {NODE}: ")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_lock_that_a_dead_worker_left_is_waited_for(tmp_path):
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with held(tmp_path / "out"):
            entered.set()
            leave.wait(10)

    def act():
        leave.set()
        with held(tmp_path / "out"):
            return "done"

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    assert when_free(act, 10) == "done"
    holder.join()
    with held(tmp_path / "out"), pytest.raises(HeldError):
        when_free(act, 0)


def test_a_console_of_a_shard_shows_no_bar():
    assert not ShardConsole(lambda *counts: None).shows_progress
