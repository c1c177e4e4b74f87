"""Stages on a cluster of two workers on this machine: killed, continued, refused."""

import json
import os
import re
import signal
import time

import pytest

from mfrkit.cluster.spread import Summary, spread
from mfrkit.cluster.tasks import LOCAL, ShardReport
from mfrkit.config import RunOptions, Shard
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.stages.align import align
from mfrkit.stages.options import AlignOptions, SynthMaskOptions
from mfrkit.stages.sink import Tally
from mfrkit.stages.synth_mask import synth_mask
from tests.cluster.test_parts import contents
from tests.conftest import write_noise_crops


def options(tmp_path, source="photos", **run):
    return AlignOptions(source, tmp_path / "crops", run=RunOptions(cluster="local", **run))


@pytest.mark.parametrize(
    ("source", "run", "said"),
    [
        ("-", {}, "cannot read this command's standard input"),
        ("photos", {"shard": Shard(1, 2)}, "exclude each other"),
        ("photos", {"device": "cuda:1"}, "a cluster chooses the card"),
        ("nowhere", {}, "nowhere: no such file or folder"),
    ],
)
def test_what_cannot_be_spread_is_refused_before_a_cluster_is_there(tmp_path, source, run, said):
    with pytest.raises(InputError, match=said):
        spread(align, options(tmp_path, source, **run), Console(-1))
    assert not list(tmp_path.iterdir())


def test_without_a_cluster_a_stage_runs_here(tmp_path):
    def stage(given, console):
        return Tally(written=3)

    plain = AlignOptions("photos", tmp_path)
    assert spread(stage, plain, Console(-1)).written == 3


def test_a_summary_counts_by_node(capsys):
    reports = [ShardReport("a", 1, 30, 1, 3.0), ShardReport("b", 7, 10, 0, 2.0)]
    reports += [ShardReport("a", 2, 10, 0, 1.0)]
    summary = Summary("align", "crops", Tally(written=49), reports, again=1, seconds=5.0)
    summary.narrate(Console(1))
    found = json.loads(summary.to_line())["nodes"]
    assert [each["node"] for each in found] == ["a", "b"]
    assert found[0] | {"shards": 2, "processes": 2, "inputs": 40, "rate": 20.0} == found[0]
    said = capsys.readouterr().err
    assert "49 written in 5.0 s (10/s), 3 shards, 1 begun again, nodes: 2 -> crops" in said
    assert "a: 40 inputs in 2 shards, 2 processes, 20/s" in said


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Crops enough to be interrupted in."""
    folder = write_noise_crops(tmp_path_factory.mktemp("many") / "crops")
    for person in sorted(folder.iterdir()):
        for picture in sorted(person.iterdir()):
            for number in range(24):
                os.link(picture, picture.with_name(f"{picture.stem}_{number:02}.png"))
    return folder


@pytest.fixture(scope="module")
def address():
    """A running cluster of two workers, that several commands join one after the other."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'mfrkit[cluster]'")
    own = ray.init(num_cpus=2, **LOCAL, log_to_driver=False, logging_level="ERROR")
    yield own.address_info["gcs_address"]
    ray.shutdown()


def wait_for(condition, process):
    end = time.monotonic() + 120
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.01)
    return found


def holder(folder):
    """Return the process that works on a shard which has records already, by its lock."""
    for part in folder.glob(".manifest-*.jsonl.part"):
        lock = folder / f".lock-{part.name.split('-', 1)[1].split('.')[0]}"
        if part.stat().st_size and lock.exists():
            match = re.match(r"process (\d+) ", lock.read_text())
            if match:
                return int(match[1])
    return None


def test_a_shard_whose_worker_is_killed_goes_on_elsewhere(mfr, crops):
    pytest.importorskip("ray")
    run = RunOptions(workers=1, device="cpu")
    whole = SynthMaskOptions(str(crops), mfr.folder / "whole", seed=7, region="none", run=run)
    synth_mask(whole, Console(-1, passes_records=False))
    mfr.environment["RAY_OVERRIDE_RESOURCES"] = '{"CPU": 2}'  # whatever the machine has
    words = ("--seed", "7", "--region", "none", "-b", "8", "--device", "cpu")
    process = mfr.start("synth-mask", crops, "-o", "masked", *words, "--cluster", "local", "--json")
    folder = mfr.folder / "masked"
    os.kill(wait_for(lambda: holder(folder), process), signal.SIGKILL)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["written"] == 300
    assert summary["begun_again"] >= 1, "the worker was over before it was killed"
    assert sum(node["shards"] for node in summary["nodes"]) == 8
    assert contents(folder) == contents(mfr.folder / "whole")


def test_a_killed_command_goes_on_with_resume(mfr, crops, address):
    words = ("embed", crops / "p0", "-o", "out.h5", "-m", "arcface", "--device", "cpu", "-b", "4")
    spread_out = (*words, "--no-flip", "--cluster", address)
    process = mfr.start(*spread_out)
    parts = mfr.folder / ".out.h5.parts"
    wait_for(lambda: list(parts.glob("part-*.h5")), process)
    process.kill()
    process.communicate(timeout=30)
    assert not (mfr.folder / "out.h5").exists()
    refused = mfr.apart(*spread_out, check=2)
    assert b"--resume continues it" in refused.stderr
    run = mfr.apart(*spread_out, "--resume", check=0, timeout=180)
    assert b"100 written" in run.stderr
    assert sorted(p.name for p in mfr.folder.iterdir()) == ["out.h5"]
    again = mfr.apart(*spread_out, "--resume", check=0)
    assert b"complete already" in again.stderr


def test_what_a_node_lacks_ends_the_run_in_one_line(mfr, crops, address):
    words = ("embed", crops, "-m", "mine.safetensors", "--cluster", address)
    run = mfr.apart(*words, timeout=180)
    assert run.returncode == 2, run.stderr
    assert re.fullmatch(rb"mfrkit: node \S+: mine\.safetensors: .*\n", run.stderr), run.stderr
