"""The frame around the commands: help, version, streams, doctor, demo."""

import json
import os
import pty
import shlex
import subprocess
import sys

import pytest
import typer

import mfrkit
from mfrkit.cli import app


def test_version_and_module_entry(mfr):
    wanted = f"mfrkit {mfrkit.__version__}\n".encode()
    assert mfr.apart("--version", check=0).stdout == wanted
    module = subprocess.run(
        [sys.executable, "-m", "mfrkit", "--version"], capture_output=True, check=True
    )
    assert module.stdout == wanted


def test_no_arguments_show_help(mfr):
    run = mfr()
    assert b"synth-mask" in run.stdout + run.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(mfr, shell):
    mfr.environment = {**mfr.environment, "_MFRKIT_COMPLETE": f"source_{shell}"}
    assert b"mfrkit" in mfr().stdout


def test_doctor_finds_nothing_wrong(mfr):
    report = json.loads(mfr("doctor", "--json", check=0).stdout)
    assert report["ok"]
    assert report["weights"]["arcface"] == "ok"
    assert report["packages"]["torch"]
    assert "cpu" in report["devices"]
    assert b"arcface" in mfr("doctor", check=0).stdout


def test_dry_run_says_and_does_nothing(mfr, photos):
    run = mfr("align", photos, "--dry-run", check=0)
    assert b"would align 5 inputs" in run.stderr
    assert list(mfr.folder.iterdir()) == []


def test_quiet_leaves_nothing_but_what_another_command_reads(mfr, worked):
    command = f"mfrkit embed {worked.folder / 'crops'} -o q.h5 --force"
    run = mfr.line(f"{command} -q")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    run = mfr.line(f"{command} -q > q.ndjson && wc -l < q.ndjson")
    assert run.stdout.split() == [b"0"]
    run = mfr.line(f"{command} -q | wc -l")
    assert run.stdout.split() == [b"6"]  # records, and the one that closes the stream


def test_a_log_holds_no_records_and_a_file_of_its_own_keeps_them(mfr, worked):
    command = f"mfrkit embed {worked.folder / 'crops'} -o q.h5 --force"
    assert mfr.line(f"{command} > run.log 2>&1").returncode == 0
    (said,) = (mfr.folder / "run.log").read_text().splitlines()
    assert said.startswith("mfrkit: embed: 5 written")
    assert mfr.line(f"{command} 2>&1 | wc -l").stdout.split() == [b"1"]
    assert mfr.line(f"{command} > records.ndjson").returncode == 0
    assert len((mfr.folder / "records.ndjson").read_text().splitlines()) == 6


def test_a_terminal_gets_no_records_and_a_pipe_no_colour(mfr, worked):
    """On a terminal standard output stays empty: the summary goes to standard error."""
    ours, theirs = pty.openpty()
    process = mfr.start("embed", worked.folder / "crops", "-o", "t.h5", stdout=theirs)
    os.close(theirs)
    process.communicate(timeout=60)
    try:
        shown = os.read(ours, 4096)
    except OSError:  # the other end is closed and nothing was written
        shown = b""
    os.close(ours)
    assert shown == b""
    assert b"\x1b" not in mfr("models", "list", check=0).stdout


def test_demo_runs_the_commands_it_prints(mfr):
    run = mfr("demo", check=0)
    demo = mfr.folder / "demo"
    for name in ("sheet.png", "report.html", "pairs.csv", "scores.tsv", "clean.h5"):
        assert (demo / name).stat().st_size > 0
    printed = [
        line.split("$ ", 1)[1] for line in run.stderr.decode().splitlines() if "$ mfrkit" in line
    ]
    assert [line.split()[1] for line in printed] == [
        "align",
        "synth-mask",
        "embed",
        "embed",
        "eval",
    ]
    assert len([line for line in run.stdout.decode().splitlines() if "different" in line]) == 7
    scores = (demo / "scores.tsv").read_bytes()
    for name in ("crops", "masked", "clean.h5", "masked.h5", "scores.tsv", "report.html"):
        (demo / name).rename(demo / f"first_{name}")
    for line in printed:
        mfr(*shlex.split(line)[1:], check=0)
    assert (demo / "scores.tsv").read_bytes() == scores
    assert "--force" in mfr("demo", check=2).stderr.decode()
    mfr("demo", "--force", "-q", check=0)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_standard_streams_may_be_closed(mfr, closed):
    run = mfr.line(f"mfrkit merge {{a,b}}.h5 -o all.h5 {closed}; echo $? > code; ls > names")
    assert run.stderr.decode().count("AttributeError") == 0
    assert (mfr.folder / "code").read_text() == "2\n"
    run = mfr.line(f"mfrkit embed - -o out.h5 {closed}; echo $? > code")
    assert b"Error" not in run.stderr
    assert (mfr.folder / "code").read_text() == "2\n"
    assert (mfr.folder / "names").read_text().split() == ["code", "names"]


@pytest.mark.parametrize("words", ["--help", "align --help", "--version", "models list"])
def test_a_reader_that_leaves_is_no_error(mfr, words):
    run = mfr.line(f"mfrkit {words} | true; echo ${{PIPESTATUS[0]}}")
    assert (run.stdout, run.stderr) == (b"141\n", b"")


def test_what_is_quoted_of_the_command_line_is_escaped(mfr):
    for words in (["\x1b[31m"], ["align", "--\x1b[31m"], ["align", "\x1b[31m\nb", "-o", "c"]):
        run = mfr(*words, check=2)
        assert b"\x1b" not in run.stderr
        assert b"\\x1b[31m" in run.stderr


def test_values_are_completed_in_the_shell(mfr):
    line = "mfrkit synth-mask --type cloth:2,n9"
    mfr.environment |= {"_MFRKIT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "3"}
    assert mfr().stdout.decode().split() == ["cloth:2,n95"]


@pytest.mark.parametrize(
    ("command", "option", "typed", "offered"),
    [
        ("embed", "--model", "ma", ["maskinv", "maskinv-edge"]),
        ("inpaint", "-m", "m", ["meer"]),
        ("models show", "model", "y", ["yunet"]),
        ("models calibrate", "model", "arc", ["arcface"]),
        ("align", "--detector", "", ["yunet", "mtcnn", "face-alignment", "none"]),
        ("synth-mask", "--detector", "a", ["auto"]),
        ("benchmark", "--layout", "ca", ["calfw"]),
        ("train-inpaint", "--preset", "g", ["g2d", "g2d-paper"]),
        ("train-inpaint", "--init", "c", ["completion"]),
        ("train-region", "--init", "r", ["region"]),
        ("distill", "--init", "te", ["teacher"]),
        ("distill", "--teacher", "edge", ["edgeface"]),
        ("identify", "--pool", "n", ["norm", "none"]),
    ],
)
def test_values_offered(command, option, typed, offered):
    found = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]
    parameter = next(each for each in found.params if option in (*each.opts, each.name))
    items = parameter.shell_complete(typer.Context(found, info_name=name), typed)
    assert [item.value for item in items] == offered


def test_the_presets_offered_are_those_there_are():
    from mfrkit.methods import METHODS
    from mfrkit.training.distill import load_method

    command = typer.main.get_command(app).commands["distill"]
    parameter = next(each for each in command.params if each.name == "preset")
    offered = parameter.shell_complete(typer.Context(command, info_name="distill"), "")
    named = {preset for name in METHODS for preset in all_presets(load_method(name))}
    assert {item.value for item in offered} == named


def all_presets(method):
    phases = getattr(method, "phases", None)
    return method.presets if phases is None else phases["reformer"].presets


def test_help_as_a_command(mfr):
    assert mfr("help", "align", check=0).stdout == mfr("align", "--help", check=0).stdout
    assert mfr("help", "models", "show", check=0).stdout == (
        mfr("models", "show", "--help", check=0).stdout
    )
    assert mfr("help", check=0).stdout == mfr("--help", check=0).stdout
    assert b"align" in mfr("help", "algin", check=2).stderr  # the nearest is named


def test_the_nearest_name_is_told(mfr, photos):
    assert b"--every" in mfr("align", "photos", "--evry", "3", check=2).stderr
    assert b"'show'" in mfr("models", "shwo", check=2).stderr
    assert b"maskinv" in mfr("embed", photos, "-m", "maskin", check=2).stderr
