"""Histories of runs: whole lines count, what is done again replaces what was, null is NaN."""

import json

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.io.history import read_history


def written(path, *lines, end=b""):
    path.write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode() + end)
    return path


def test_series_by_name(tmp_path):
    path = written(
        tmp_path / "history.jsonl",
        {"step": 2, "loss": 4.0, "lr": 0.5},
        {"step": 2, "check_error": 0.25},
        {"step": 4, "loss": None, "lr": 0.25},
        end=b'{"step": 6, "loss": 1',
    )
    found = read_history(path)
    assert list(found) == ["loss", "lr", "check_error"]
    assert found["loss"].steps.tolist() == [2, 4]
    np.testing.assert_array_equal(found["loss"].values, [4.0, np.nan])
    assert found["check_error"].steps.tolist() == [2]


def test_steps_done_again_count_once(tmp_path):
    """Killed at 8, continued from the checkpoint at 4, without anybody having cut the file."""
    lines = [{"step": step, "loss": float(step)} for step in (2, 4, 6, 8)]
    again = [{"step": step, "loss": -float(step)} for step in (6, 8, 10)]
    series = read_history(written(tmp_path / "history.jsonl", *lines, *again))["loss"]
    assert series.steps.tolist() == [2, 4, 6, 8, 10]
    assert series.values.tolist() == [2, 4, -6, -8, -10]


def test_rubbish_is_passed_over_and_nothing_is_no_run(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'\xff\xfe\n[1]\n{"step": "x"}\n\n{"step": 1, "note": "a"}\n')
    assert read_history(path) == {}
    with pytest.raises(InputError, match="unreadable"):
        read_history(tmp_path / "none.jsonl")


def test_numbers_of_hundreds_of_digits_end_nothing(tmp_path):
    path = written(
        tmp_path / "history.jsonl", {"step": 10**400, "loss": 1.0}, {"step": 2, "loss": 10**400}
    )
    series = read_history(path)["loss"]
    assert series.steps.tolist() == [2]
    assert series.values.tolist() == [np.inf]
