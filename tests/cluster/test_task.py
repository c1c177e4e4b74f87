"""The work on one shard."""

import os
import socket
import threading
from pathlib import Path

import pytest

from mfrkit.cluster.task import ShardConsole, ShardJob, perform, when_free
from mfrkit.errors import HeldError, InputError, MfrError
from mfrkit.io.files import held

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
