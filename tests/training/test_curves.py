"""Curves of runs: which there are, what is drawn, and what cannot be."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.pages.html_page import COLOURS
from mfrkit.training.curves import CurvesOptions, curves, smoothed


@pytest.fixture
def run(tmp_path):
    def make(name, *, steps=100, terms=("loss", "template"), parent="."):
        folder = tmp_path / parent / f"{name}.run"
        folder.mkdir(parents=True)
        lines = []
        for step in range(2, steps + 1, 2):
            losses = dict.fromkeys(terms, 9.0 / step)
            lines.append({"step": step, **losses, "lr": 1e-3, "faces_per_second": 9.0})
            if step % 20 == 0:
                lines.append({"step": step, "check_error": abs(step - 60) / 100})
        content = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "history.jsonl").write_text(content + '{"step": 102, "lo')
        return folder

    return make


def drawn(output, *runs, force=False):
    curves(CurvesOptions(runs, output, force), Console())
    return output.read_bytes()


def test_a_page_names_runs_panels_and_what_they_came_to(run, tmp_path):
    second = run("b<i>", steps=40, terms=("loss", "pairs"))
    page = drawn(tmp_path / "c.html", run("a"), second / "history.jsonl").decode()
    for panel in ("loss", "template", "pairs", "check_error", "lr"):
        assert page.count(f'aria-label="{panel} over steps"') == 1
    assert "faces_per_second" not in page
    assert "</span> a</th><td>100</td><td>0.09</td><td>0.00%</td><td>60</td>" in page
    assert "</span> b&lt;i&gt;</th><td>40</td><td>0.225</td><td>20.00%</td><td>40</td>" in page
    assert f"color:{COLOURS[1]}" in page


def test_a_picture_holds_a_panel_for_each_scalar(run, tmp_path, capsys):
    model = run("a").with_suffix(".safetensors")
    sizes = [
        Image.open(io.BytesIO(drawn(tmp_path / f"{n}.png", *runs))).size
        for n, runs in enumerate([[model], [model, run("b", terms=("loss", *"xyz"))]])
    ]
    assert "0.png: 4 panels, a\n" in capsys.readouterr().err
    assert sizes[1][1] > 1.4 * sizes[0][1]  # seven panels: three rows, not two
    text = drawn(tmp_path / "c.svg", model).decode()
    assert "<!-- a -->" in text
    assert "<!-- check: error -->" in text
    assert drawn(tmp_path / "d.svg", model).decode() == text


def test_runs_of_one_name_are_told_apart(run, tmp_path):
    page = drawn(tmp_path / "c.html", run("a", parent="x"), run("a", parent="y")).decode()
    assert f"{tmp_path}/x/a.run</th>" in page
    assert f"{tmp_path}/y/a.run</th>" in page


def test_no_value_at_all_can_be_drawn(tmp_path):
    folder = tmp_path / "a.run"
    folder.mkdir()
    (folder / "history.jsonl").write_text('{"step": 1, "loss": null, "check_error": null}\n')
    assert drawn(tmp_path / "c.png", folder)
    assert "<td>1</td><td>nan</td><td>–</td>" in drawn(tmp_path / "c.html", folder).decode()


def test_an_empty_run_beside_others_is_left_out(run, tmp_path, capsys):
    empty = run("empty", steps=0)
    drawn(tmp_path / "c.png", empty, run("a"))
    assert "warning: empty: its history is empty as yet" in capsys.readouterr().err
    with pytest.raises(InputError, match="nothing to draw"):
        drawn(tmp_path / "d.png", empty)


def test_mistakes_are_named(run, tmp_path):
    folder = run("a")
    for runs, output, message in (
        ([folder], "c.txt", "ends in .png, .svg, .pdf or .html"),
        ([folder, folder], "c.png", "a run is named twice"),
        ([tmp_path], "c.png", "holds runs and is none; name .*a.run"),
        ([tmp_path / "b.safetensors"], "c.png", "b.run/history.jsonl: no such history"),
    ):
        with pytest.raises(InputError, match=message):
            drawn(tmp_path / output, *runs)
    drawn(tmp_path / "c.png", folder)
    with pytest.raises(InputError, match="--force replaces it"):
        drawn(tmp_path / "c.png", folder)
    drawn(tmp_path / "c.png", folder, force=True)


def test_smoothing_does_not_lag_and_skips_what_is_not_there():
    line = np.arange(60, dtype=float)
    np.testing.assert_allclose(smoothed(line)[1:-1], line[1:-1])
    zigzag = np.where(np.arange(60) % 2, 1.0, -1.0)
    assert np.abs(smoothed(zigzag)[1:-1]).max() == pytest.approx(1 / 3)
    line[30] = np.nan
    found = smoothed(line)
    assert np.isnan(found[30])
    assert found[29] == pytest.approx((28 + 29) / 2)
