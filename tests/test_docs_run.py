"""What the documentation says to type works: blocks marked `<!-- run -->`, and examples of help.

Simple calls run in this process, one after another, in a folder with the files of `mfrkit demo`;
loading torch for each of them would take minutes.
"""

import re
import shlex
import shutil

import pytest
from documentation import COMMANDS, PAGES, call, example_of, name_of

BLOCK = re.compile(r"^<!-- run -->\n```(\w+)\n(.*?)^```$", re.S | re.M)
SYNTAX = re.compile(r"[|;<>&$]|^(if|then|else|fi|for|echo) ?|^ ", re.M)
MARKED = [page for page in PAGES if BLOCK.search(page.read_text())]
NOT_RUN = {
    "mfrkit demo": "it made the files",
    "mfrkit models add": "takes a file of another program",
    "mfrkit models calibrate": "takes more people",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder in which the demo has been run."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(shlex.split("mfrkit -q demo -o demo")) == 0
    return folder / "demo"


@pytest.fixture
def beside(demo, tmp_path, monkeypatch, mfr):
    """A working folder of its own: the demo, and its photos and pairs under the names of README."""
    shutil.copytree(demo, tmp_path / "demo")
    shutil.copytree(demo / "photos", tmp_path / "photos")
    shutil.copy(demo / "pairs.csv", tmp_path / "pairs.txt")
    monkeypatch.chdir(tmp_path)
    return mfr


@pytest.mark.parametrize("page", MARKED, ids=name_of)
def test_blocks_run_as_they_are_typed(page, beside):
    for kind, block in BLOCK.findall(page.read_text()):
        if kind == "python":
            exec(compile(block, page.name, "exec"), {})
        elif SYNTAX.search(re.sub(r"#.*", "", block)):
            run = beside.line(f"set -e\n{block}")
            assert run.returncode == 0, f"{block}\n{run.stderr.decode()}"
        else:
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words[1] != "demo":
                    assert call(words) == 0, line


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(NOT_RUN)))
def test_examples_of_help_work_on_the_demo(name, beside):
    """Training is only prepared: `--dry-run` reads the data and builds the networks."""
    dry = any(option in ("-n", "--dry-run") for p in COMMANDS[name].params for option in p.opts)
    for words in example_of(COMMANDS[name]):
        trains = dry and "--steps" in words
        assert call([*words, "--dry-run"] if trains else words) == 0, shlex.join(words)


@pytest.mark.parametrize("name", NOT_RUN)
def test_examples_that_are_not_run_parse(name):
    (words,) = example_of(COMMANDS[name])
    rest = words[len(name.split()) :]
    COMMANDS[name].make_context(name, rest, resilient_parsing=False)
