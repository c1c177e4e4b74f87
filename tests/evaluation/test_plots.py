"""The evaluation picture: every kind of result can be drawn, and the curve is the right one."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from mfrkit.errors import ShapeError
from mfrkit.evaluation.plots import PANELS, bin_edges, det_points, draw, draw_cmc
from mfrkit.evaluation.results import SystemResult
from mfrkit.metrics.rates import roc
from mfrkit.metrics.verification import verify
from mfrkit.pages.html_page import COLOURS

COUNT = 400
SAME = np.arange(COUNT) % 2 == 0


def system(scores, same=SAME, label="arcface", counted=None):
    counted = np.ones(same.size, bool) if counted is None else counted
    fold = np.arange(same.size) * 4 // same.size
    figures = verify(scores[counted], same[counted], fold[counted])
    return SystemResult(label, Path("e.h5"), None, {}, scores, counted, 0, 0, figures)


def overlapping(seed: int = 0):
    random = np.random.default_rng(seed)
    return np.clip(random.normal(np.where(SAME, 0.5, 0.1), 0.15), -1, 1)


def test_same_scores_give_the_same_bytes():
    for kind in ("png", "svg", "pdf"):
        results = [system(overlapping())]
        assert draw(SAME, results, kind, ["roc"]) == draw(SAME, results, kind, ["roc"])


def test_every_system_is_named_with_its_rate_and_colour():
    results = [system(overlapping(n), label=f"system {n}") for n in range(3)]
    picture = draw(SAME, results, "svg").decode()
    for n, result in enumerate(results):
        rate = f"{100 * result.figures.eer.rate:.2f}"
        assert f"<!-- system {n}   EER {rate} % -->" in picture
        assert COLOURS[n].lower() in picture.lower()


@pytest.mark.parametrize(
    ("scores", "same"),
    [
        (np.where(SAME, 0.9, 0.1), SAME),  # no errors at all
        (np.where(SAME, 0.1, 0.9), SAME),  # nothing but errors
        (np.full(COUNT, 0.5), SAME),  # one score
        (np.where(np.arange(COUNT) % 5, overlapping(), -np.inf), SAME),  # failures
        (np.where(np.arange(COUNT) == 7, 0.5, -np.inf), SAME),  # one comparison left
        (overlapping(), np.ones(COUNT, bool)),  # no impostors
        (np.array([0.9, 0.1]), np.array([True, False])),
    ],
    ids=["perfect", "inverted", "constant", "failures", "one left", "one kind", "two pairs"],
)
def test_odd_results_can_be_drawn(scores, same):
    assert draw(same, [system(scores, same)], "png").startswith(b"\x89PNG")


def test_many_systems_and_awkward_labels_can_be_drawn(recwarn):
    labels = ["a$b_$c", "<i>", "a" * 90, "東京", *map(str, range(6))]
    results = [system(overlapping(n), label=label) for n, label in enumerate(labels)]
    picture = draw(SAME, results, "svg").decode()
    assert "a" * 31 not in picture
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_can_be_drawn_alone(panel):
    picture = draw(SAME, [system(overlapping())], "svg", [panel]).decode()
    titles = {"det": "Detection error", "roc": "Receiver operating", "scores": "Scores"}
    assert [name for name in PANELS if f"<!-- {titles[name]}" in picture] == [panel]


def test_scores_that_are_no_cosines_have_axes_of_their_own():
    big, small = 100 * overlapping() + 500, overlapping()
    picture = draw(SAME, [system(big), system(small)], "svg", ["scores"]).decode()
    assert "<!-- 500 -->" in picture
    assert re.search("<!-- 0.[24] -->", picture)
    assert bin_edges(big).size < 100
    assert bin_edges(big * 1e9).size < 100


@pytest.mark.parametrize("ranks", [1, 10, 400])
def test_a_cmc_names_every_system_with_its_first_rate(ranks):
    rates = {name: np.linspace(first, 1, ranks) for name, first in (("one", 0.5), ("two", 0.75))}
    picture = draw_cmc(rates, "svg").decode()
    assert "<!-- one   rank 1: 50.00 % -->" in picture
    assert "<!-- two   rank 1: 75.00 % -->" in picture
    assert "mathdefault" not in picture


def test_a_cmc_without_ranks_is_refused():
    with pytest.raises(ShapeError, match="arcface: expected a rate for each rank"):
        draw_cmc({"arcface": np.empty(0)}, "png")
    assert draw_cmc({}, "png").startswith(b"\x89PNG")


def test_left_out_pairs_are_not_drawn():
    scores, counted = overlapping(), np.arange(COUNT) >= 100
    kept = draw(SAME, [system(scores, counted=counted)], "svg")
    scores = np.where(counted, scores, -np.inf)
    assert draw(SAME, [system(scores, counted=counted)], "svg") == kept


def testdet_points_lie_on_the_curve():
    curve = roc(overlapping(), SAME)
    x, y = det_points(curve, 0.001)
    known = set(
        zip(
            ndtri(curve.fmr.clip(0.001, 0.9999)), ndtri(curve.fnmr.clip(0.001, 0.9999)), strict=True
        )
    )
    assert set(zip(x, y, strict=True)) <= known
    assert x[0] == ndtri(0.001)
    assert y[-1] == ndtri(0.001)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) <= 0).all()


def test_a_long_curve_is_thinned():
    random = np.random.default_rng(0)
    same = random.random(300_000) < 0.5
    curve = roc(random.normal(np.where(same, 1.0, 0.0)), same)
    x, _ = det_points(curve, 1e-5)
    assert 200 < x.size < 10_000


def test_bins_cover_the_scores_at_round_values():
    edges = bin_edges(np.array([-0.031, 0.42]))
    assert edges[0] <= -0.031
    assert edges[-1] >= 0.42
    assert np.allclose(np.diff(edges), 0.05)
    assert bin_edges(np.array([0.5, 0.5])).size >= 2
