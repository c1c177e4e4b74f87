"""The method that docs/design.md adds: one file, one line in the table, and it is a method."""

import re
import sys
from pathlib import Path

import h5py
import pytest

from mfrkit.cli import app
from mfrkit.errors import MfrError
from mfrkit.io.checkpoints import read_header
from mfrkit.methods import METHODS
from mfrkit.training.distill import find_method

PAGE = Path(__file__).parents[2] / "docs" / "design.md"


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """The page's file where Python finds it, and the line in the table."""
    (code,) = re.findall(r'```python\n("""Made-up: .*?)```', PAGE.read_text(), re.S)
    (tmp_path / "made_up.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "made-up", "made_up")
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("made_up", None)


def call(line):
    return app(["-q", *line.split()], standalone_mode=False) or 0


def test_it_trains_and_embeds(made_up, noise_crops):
    tiny = "--steps 2 -b 4 -j 1 --set fit.warmup=0 --set method.weight=0.5 --device cpu"
    assert call(f"distill crops -o student.safetensors --method made-up {tiny}") == 0
    card = read_header(Path("student.safetensors")).card
    assert card["paper"] == "Nobody, A Made-Up Method, 2026"
    assert card["config"]["method"] == {"weight": 0.5}
    assert card["config"]["fit"]["epochs"] == 3.0  # of its preset
    assert call("embed crops -o e.h5 --model student.safetensors -j 1 --device cpu") == 0
    with h5py.File("e.h5") as file:
        assert file["embeddings"].shape == (12, 192)


def test_its_settings_are_checked_as_those_of_any_other(made_up, noise_crops, capsys):
    assert call("distill crops --method made-up --set method.wait=1") == 2
    assert "no setting method.wait; did you mean weight?" in capsys.readouterr().err


def test_without_its_line_there_is_none():
    with pytest.raises(MfrError, match="unknown method 'made-up'"):
        find_method("made-up")
