"""The HTML page: complete, self-contained, escaped, and with the right pairs and pictures."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfrkit.errors import InputError
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.page import report_page, worst_places
from mfrkit.evaluation.results import DEFINITIONS, SystemResult
from mfrkit.io.pairs import PairList
from mfrkit.metrics.verification import verify
from mfrkit.pages.table import Table

COUNT = 40
SAME = np.arange(COUNT) % 2 == 0
SCORES = np.where(SAME, 0.9, 0.1) + 0.001 * np.arange(COUNT) * np.where(SAME, -1, 1)
PAIRS = PairList(
    path=Path("pairs.csv"),
    format="csv",
    a=[f"p/a{n}" for n in range(COUNT)],
    b=[f"p/<b>{n}" for n in range(COUNT)],
    same=SAME,
    fold=np.arange(COUNT) * 4 // COUNT,
    line=np.arange(COUNT) + 2,
)


def system(scores=SCORES, label="arcface", probes=None, counted=None):
    counted = np.ones(COUNT, bool) if counted is None else counted
    figures = verify(scores[counted], SAME[counted], PAIRS.fold[counted])
    return SystemResult(label, Path("e.h5"), probes, {"model": "m"}, scores, counted, 3, 2, figures)


def page(results, **options):
    return report_page(
        PAIRS, results, [], EvalOptions(PAIRS.path, report=Path("r.html"), **options)
    )


@pytest.fixture(scope="module")
def drawn():
    """A page with its charts."""
    return page([system()])


@pytest.fixture
def no_charts(monkeypatch):
    """Spare a test the time that drawing takes."""
    monkeypatch.setattr("mfrkit.evaluation.page.draw", lambda *_: b"<svg></svg>")


@pytest.fixture
def crops(tmp_path):
    """Two folders with the picture of every key, in two colours."""
    for folder, colour in (("plain", (200, 30, 30)), ("masked", (30, 30, 200))):
        for key in ("a38", "<b>38", "a36", "<b>39"):
            path = tmp_path / folder / "p" / f"{key}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (112, 112), colour).save(path)
    return tmp_path


def test_the_worst_pairs_of_each_kind_come_first():
    result = system()
    assert worst_places(PAIRS, result, same=True) == [38, 36, 34, 32, 30, 28]
    assert worst_places(PAIRS, result, same=False) == [39, 37, 35, 33, 31, 29]


def test_failed_and_left_out_pairs_are_not_the_worst():
    scores = SCORES.copy()
    scores[38] = -np.inf
    result = system(scores, counted=np.arange(COUNT) != 36)
    assert worst_places(PAIRS, result, same=True)[:2] == [34, 32]


def first_pair(html):
    """Return the figure of the worst pair."""
    return html.partition("<h2>Worst pairs</h2>")[2].partition("</figure>")[0]


def test_pictures_come_from_the_folder_of_their_side(crops, no_charts):
    result = system(probes=Path("m.h5"))
    plain, masked = str(crops / "plain"), str(crops / "masked")
    first = first_pair(page([result], crops=(plain,), probe_crops=(masked,)))
    assert first.count("data:image/jpeg;base64,") == 2
    assert 'alt="p/a38"' in first
    assert 'alt="p/&lt;b&gt;38"' in first
    assert 'title="p/a38 and p/&lt;b&gt;38, line 40"' in first
    assert "<b>0.862</b>" in first
    first = first_pair(page([result], crops=(plain,)))
    assert first.count("data:image/jpeg") == 1
    assert "no picture" in first


def test_missing_and_damaged_pictures_leave_a_frame(crops, no_charts):
    (crops / "plain" / "p" / "a38.png").write_bytes(b"nonsense")
    html = page([system()], crops=(str(crops / "plain"),))
    assert "<span>not a picture</span>" in html
    assert "<span>no picture</span>" in html  # of <b>36


def test_folders_of_systems_with_and_without_probes(crops, no_charts):
    results = [system(label="plain"), system(label="probes", probes=Path("m.h5"))]
    plain, masked = str(crops / "plain"), str(crops / "masked")
    one = page(results, crops=(plain,), probe_crops=(masked,))
    assert one.count("data:image/jpeg") == 8  # a38, b38, a36, b39 of each
    no_probes = page(results, crops=(plain,))
    assert no_probes.count("data:image/jpeg") == 6


def test_without_crops_the_worst_pairs_are_named(drawn):
    assert "data:image" not in drawn
    assert "<b>0.862</b> a38<br>&lt;b&gt;38" in drawn


def test_a_folder_that_is_not_there_is_refused(tmp_path, no_charts):
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        page([system()], crops=(str(tmp_path / "nowhere"),))


def test_the_page_needs_nothing_else(drawn):
    assert "<script" not in drawn
    assert "@import" not in drawn
    assert not re.findall(r"url\((?!#)", drawn)
    links = re.findall(r'(?:src|href)="([^"]*)"', drawn)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    addresses = set(re.findall(r"https?://[^\"' <]+", drawn))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in drawn


def test_charts_follow_the_colours_of_the_page(drawn):
    charts = re.findall(r"<svg.*?</svg>", drawn, re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        assert "aria-label" in chart
        assert "currentColor" in chart
        assert ": #222222" not in chart
        assert ": #ffffff" not in chart


def test_every_count_and_definition_is_there(no_charts):
    scores = SCORES.copy()
    scores[[0, 1, 3]] = -np.inf
    html = page([system(scores, counted=np.arange(COUNT) >= 1)])
    counts = html[html.index("<h2>Counts") :].partition("</table>")[0]
    cells = [int(cell) for cell in re.findall(r"<td>(\d+)</td>", counts)]
    assert cells == [40, 37, 0, 2, 1, 3]
    text = unescape(html)
    assert "40 pairs of 80 images, 20 of one person and 20 of two, in 4 folds" in text
    assert all(definition in text for definition in DEFINITIONS.values())


def test_the_same_results_give_the_same_page(drawn):
    assert page([system()]) == drawn


def test_eer_and_tar_come_first_and_charts_before_further_tables(no_charts):
    further = [Table("95 % intervals", ["system", "low"], [["arcface", "1"]], [])]
    html = report_page(PAIRS, [system()], further, EvalOptions(PAIRS.path))
    names = re.findall(r'<th scope="col">(.*?)</th>', html)
    assert [unescape(name).replace("\u2011", "-") for name in names[:4]] == [
        "system", "EER %", "TAR@1e-2 %", "TAR@1e-3 %",
    ]  # fmt: skip
    places = [html.index(f"<h2>{h}") for h in ("Results", "Error rates", "95 % int", "Counts")]
    assert places == sorted(places)


def test_a_table_without_rows_is_its_notes(no_charts):
    further = [Table("T", ["a", "b"], [], ["no <threshold>"])]
    html = report_page(PAIRS, [system()], further, EvalOptions(PAIRS.path))
    assert '<h2>T</h2>\n<p class="note">no &lt;threshold&gt;</p>\n' in html


def test_groups_and_best_figures_of_a_table(no_charts):
    best, groups = frozenset({(0, 1)}), [("worn <b>", 2)]
    table = Table("T", ["system", "1e-3", "low"], [["a&b", "1", "2"]], [], groups, best)
    html = report_page(PAIRS, [system()], [table], EvalOptions(PAIRS.path))
    assert '<td></td><th scope="colgroup" colspan="2">worn &lt;b&gt;</th></tr>' in html
    assert '<tr><th scope="row">a&amp;b</th><td><b>1</b></td><td>2</td></tr>' in html


def test_what_is_undefined_has_its_reason_beside_it(no_charts):
    one_fold = PairList(**{**vars(PAIRS), "fold": np.zeros(COUNT, int)})
    figures = verify(SCORES, SAME, one_fold.fold)
    result = replace(system(), figures=figures)
    html = report_page(one_fold, [result], [], EvalOptions(PAIRS.path))
    assert html.count("<td>n/a: one fold</td>") == 2  # accuracy and its deviation
    assert html.count("<td>n/a: scores given</td>") == 2  # nothing is known of failures
    assert "<td>n/a</td>" not in html
    strangers = replace(result, figures=verify(SCORES[~SAME], SAME[~SAME], one_fold.fold[~SAME]))
    html = report_page(one_fold, [strangers], [], EvalOptions(PAIRS.path))
    assert html.count("<td>n/a: no pairs of one person</td>") == 9
