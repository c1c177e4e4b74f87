"""The Dockerfile, as far as it can be checked where no daemon is."""

import re
import shlex
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions():
    """Return (NAME, rest) of each instruction, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def values(name):
    return [rest for found, rest in instructions() if found == name]


def ignored(path):
    """Whether .dockerignore keeps a path of the top folder out of the image; the last rule wins."""
    verdict = False
    for rule in (ROOT / ".dockerignore").read_text().split("\n"):
        if rule and not rule.startswith("#") and fnmatch(path, rule.removeprefix("!")):
            verdict = not rule.startswith("!")
    return verdict


def test_only_known_instructions():
    known = {"FROM", "ARG", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} == known


def test_what_is_copied_is_there_and_not_ignored():
    copied = [
        path
        for rest in values("COPY")
        if not rest.startswith("--from")
        for path in shlex.split(rest)[:-1]
    ]
    assert {"pyproject.toml", "mfrkit"} < set(copied)
    for path in copied:
        assert (ROOT / path).exists()
        assert not ignored(path)
    needed = {PROJECT["readme"], *PROJECT["license-files"]}
    assert needed <= set(copied), "the package cannot be built without"
    for path in ROOT.iterdir():
        assert ignored(path.name) or path.name in copied, f"{path.name} goes to the daemon in vain"


def test_versions_agree_with_the_project():
    bases = {re.match(r"python:(\d+)\.(\d+)-slim-\w+", rest).groups() for rest in values("FROM")}
    assert len(bases) == 1
    lowest = re.search(r">=3\.(\d+)", PROJECT["requires-python"])[1]
    assert int(bases.pop()[1]) >= int(lowest)
    torch = next(rest for rest in values("ARG") if rest.startswith("TORCH="))
    made = re.search(r"^TORCH +\?= (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert torch == f"TORCH={made}"


def test_it_runs_the_console_script_as_nobody_special():
    names = [name for name, _ in instructions()]
    assert values("USER") == ["mfrkit"]
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in ("RUN", "COPY"))
    assert values("ENTRYPOINT") == ['["mfrkit"]']
    assert "mfrkit" in PROJECT["scripts"]


@pytest.mark.parametrize(
    ("device", "index", "wanted"),
    [
        ("cpu", "there", "install torch --index-url there"),
        ("cuda", "", "install torch"),
        ("cuda", "there", "install torch --index-url there"),
        ("cpu", "", None),
        ("tpu", "", None),
    ],
)
def test_the_build_arguments_choose_torch(device, index, wanted):
    """The shell lines themselves, with a pip that only says what it was asked."""
    line = next(rest for rest in values("RUN") if "$DEVICE" in rest)
    run = subprocess.run(
        ["sh", "-euc", line.replace("/opt/mfrkit/bin/pip", "echo")],
        env={"DEVICE": device, "TORCH": "torch", "TORCH_INDEX": index},
        capture_output=True,
        text=True,
        check=False,
    )
    if wanted is None:
        assert run.returncode == 1
        assert "TORCH_INDEX" in run.stderr or "expected cpu or cuda" in run.stderr
    else:
        assert (run.returncode, run.stdout.strip()) == (0, wanted)
