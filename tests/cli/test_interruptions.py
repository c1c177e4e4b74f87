"""Ctrl-C, SIGTERM, SIGKILL, a closed pipe, a full disk: nothing half-written, all resumable."""

import json
import signal
import sys
import time

import numpy as np
import pytest
from conftest import Shell
from PIL import Image

from mfrkit.io.embeddings import EmbeddingReader


def write_crops(folder, count):
    folder.mkdir()
    rng = np.random.default_rng(1)
    for n in range(count):
        coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((112, 112)).save(folder / f"{n:04d}.png")
    return folder


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """A folder of crops large enough to be interrupted in."""
    return write_crops(tmp_path_factory.mktemp("some") / "crops", 160)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of so many crops that masks are drawn in processes, and those masks."""
    shell = Shell(tmp_path_factory.mktemp("many"))
    write_crops(shell.folder / "crops", 520)
    shell("synth-mask", "crops", "-o", "whole", "-b", "8", check=0)
    return shell.folder


def wait_for(condition, timeout=300):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.005)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_synth_mask_stopped_and_resumed_equals_an_unbroken_run(mfr, many, sent, code):
    part = mfr.folder / "masked" / ".manifest.jsonl.part"
    process = mfr.start("synth-mask", many / "crops", "-b", "8")
    wait_for(lambda: len(lines(part)) > 10)  # nobody reads its records: the pipe holds some
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"Traceback" not in err
    assert not (mfr.folder / "masked/manifest.jsonl").exists()
    assert len(lines(part)) < 520, "the run was over before it was stopped: make it longer"
    run = mfr("synth-mask", many / "crops", "--resume", check=0)
    assert b"resuming" in run.stderr
    assert len(run.stdout.splitlines()) == 521
    whole = many / "whole"
    for name in ("manifest.jsonl", "0000.png", "0519.png", "_regions/0300.png"):
        assert (mfr.folder / "masked" / name).read_bytes() == (whole / name).read_bytes()
    assert not list((mfr.folder / "masked").rglob(".*.part"))


def test_embed_killed_again_and_again_never_repeats_a_row(mfr, some):
    """Pieces of 16 rows, so that there is something to lose."""
    runner = "from mfrkit.stages import embed\nembed.PIECE_INPUTS = 16\n"
    runner += "from mfrkit.cli import main\nmain()\n"
    program = mfr.folder / "small_pieces.py"
    program.write_text(runner)
    mfr.program = sys.executable
    pieces = mfr.folder / ".embeddings.h5.pieces"
    arguments = [program, "embed", some, "--model", "arcface", "-b", "8", "-j", "1"]
    for stop in (1, 3, 5):
        process = mfr.start(*arguments, *(["--resume"] if stop > 1 else []))
        wait_for(lambda stop=stop: len(list(pieces.glob("piece-*.h5"))) >= stop)
        process.kill()
        process.communicate()
        assert not (mfr.folder / "embeddings.h5").exists()
    resumed_run = mfr.apart(*arguments, "--resume", check=0)
    assert len(resumed_run.stdout.splitlines()) == 161, "a pipeline downstream needs them all"
    again = mfr.apart(*arguments, "--resume", check=0)
    assert again.stdout == resumed_run.stdout
    mfr.apart(*arguments, "-o", "whole.h5", check=0)
    assert not pieces.exists()
    with (
        EmbeddingReader(mfr.folder / "embeddings.h5") as resumed,
        EmbeddingReader(mfr.folder / "whole.h5") as whole,
    ):
        assert list(resumed.each_key()) == [f"{n:04d}" for n in range(160)]
        assert np.array_equal(resumed.rows(np.arange(160)), whole.rows(np.arange(160)))


def test_a_closed_pipe_ends_quietly(mfr, some):
    process = mfr.start("synth-mask", some, "-b", "8")
    first = process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert json.loads(first)["key"] == "0000"
    assert process.wait(timeout=60) == 141
    assert err == b""


def test_a_pipe_into_head(mfr, photos):
    run = mfr.line(f"mfrkit align {photos} -o crops | head -n 1")
    assert len(run.stdout.splitlines()) == 1
    assert run.stderr.count(b"\n") <= 1
    assert b"Traceback" not in run.stderr


@pytest.mark.parametrize("command", ["align", "synth-mask", "embed"])
def test_a_full_disk_is_one_clear_line_and_loses_nothing(mfr, some, photos, command):
    """A limit on file size stands in for a full disk: the system call fails the same way."""
    source = photos if command == "align" else some
    out = "e.h5" if command == "embed" else "out"
    model = ["--model", "arcface"] if command == "embed" else []
    line = f"mfrkit {command} {source} -o {out} {' '.join(model)}"
    limited = mfr.line(f"ulimit -f 8; {line} > /dev/null")
    assert limited.returncode == 1
    text = limited.stderr.decode()
    assert text.count("\n") == 1, text
    assert "File too large" in text
    assert out in text, "the line must say which file"
    assert not (mfr.folder / "out/manifest.jsonl").exists()
    assert not (mfr.folder / "e.h5").exists()
    mfr(command, source, "-o", out, *model, "--resume", check=0)


def test_results_are_refused_where_nothing_can_be_written(mfr, worked):
    run = mfr("embed", worked.folder / "crops", "-o", "/proc/nothing/e.h5")
    assert run.returncode == 1
    assert b"/proc/nothing" in run.stderr
    assert b"Traceback" not in run.stderr


def dying(call, n):
    """Return a program that is mfrkit until SIGKILL right before the n-th call of a function."""
    return (
        "import os, signal, sys, itertools\nfrom pathlib import Path\nfrom mfrkit.cli import main\n"
        f"turn, real = itertools.count(1), os.{call}\n"
        "def dying(*a, **k):\n"
        f"    if next(turn) == {n}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*a, **k)\n"
        f"os.{call} = dying\nmain()\n"
    )


def test_the_death_of_a_feeder_is_not_the_end_of_the_data(mfr, some):
    program = mfr.folder / "dying.py"
    program.write_text(dying("replace", 90))
    synth = f"synth-mask {some} -o masked -b 8 -j 1 --region soft"
    run = mfr.line(f"{sys.executable} {program} {synth} | mfrkit embed - -o m.h5 --model arcface")
    assert b"m.h5" not in run.stderr
    assert run.stderr.count(b"ended before its closing record") == 1
    assert not (mfr.folder / "m.h5").exists()
    run = mfr.line(f"mfrkit {synth} --resume | mfrkit embed - -o m.h5 --model arcface --resume")
    assert run.returncode == 0, run.stderr.decode()
    mfr("embed", "masked", "-o", "whole.h5", "--model", "arcface", check=0)
    with (
        EmbeddingReader(mfr.folder / "m.h5") as piped,
        EmbeddingReader(mfr.folder / "whole.h5") as whole,
    ):
        assert list(piped.each_key()) == [f"{n:04d}" for n in range(160)]
        assert np.array_equal(piped.rows(np.arange(160)), whole.rows(np.arange(160)))


def test_embed_resumes_only_what_it_is_asked_for(mfr, worked):
    """A finished file of another model, of more inputs, or of other files of the same names."""
    crops = worked.folder / "crops"
    mfr("embed", crops, "-o", "e.h5", "--model", "arcface", check=0)
    before = (mfr.folder / "e.h5").read_bytes()
    other_model = mfr("embed", crops, "-o", "e.h5", "--model", "maskinv", "--resume", check=2)
    assert b"model='arcface', not 'maskinv'" in other_model.stderr
    same_names = worked.folder / "masked"
    run = mfr("embed", same_names, "-o", "e.h5", "--model", "arcface", "--resume", check=2)
    assert b"other files of these names" in run.stderr
    one = crops / "joe_biden"
    run = mfr("embed", one, "-o", "e.h5", "--model", "arcface", "--resume", check=2)
    assert b"the inputs changed" in run.stderr
    done = mfr("embed", crops, "-o", "e.h5", "--model", "arcface", "--resume", check=0)
    assert b"complete already" in done.stderr
    assert (mfr.folder / "e.h5").read_bytes() == before
    assert [path.name for path in mfr.folder.iterdir()] == ["e.h5"]


def test_a_preview_shows_the_same_faces_after_a_kill(mfr, worked):
    crops = worked.folder / "crops"
    mfr("synth-mask", crops, "-o", "whole", "--preview", "whole.png", "-b", "2", check=0)
    program = mfr.folder / "dying.py"
    program.write_text(dying("replace", 8))
    line = f"synth-mask {crops} -o masked --preview masked.png -b 2"
    assert mfr.line(f"{sys.executable} {program} {line} >/dev/null").returncode in (-9, 137)
    mfr(*line.split(), "--resume", check=0)
    whole = (mfr.folder / "whole.png").read_bytes()
    assert (mfr.folder / "masked.png").read_bytes() == whole
    mfr(*line.split(), "--resume", check=0)
    assert (mfr.folder / "masked.png").read_bytes() == whole
