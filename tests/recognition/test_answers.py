"""Who a face is taken for, and at which threshold."""

from dataclasses import replace

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.models.cards import STATES, Operating
from mfrkit.models.model_files import read_card
from mfrkit.recognition.answers import Probe, answer_all, search_decider
from mfrkit.recognition.decision import fmr_for, fpir_for
from mfrkit.recognition.gallery import pooled

NO_THRESHOLDS = replace(read_card("arcface")[0], thresholds={})


def card(*points):
    held = [
        Operating(fmr=fmr, threshold=value, fnmr=0.1, genuine=9, impostors=99)
        for fmr, value in points
    ]
    return replace(NO_THRESHOLDS, thresholds=dict.fromkeys(STATES, held))


@pytest.fixture
def gallery():
    vectors = np.array([[1, 0, 0], [0.6, 0.8, 0]], np.float32)
    return pooled(["ada/1", "bob"], ["ada", "bob"], vectors, np.zeros(2, np.int8), {})


def probe(*vector, shot="s"):
    return Probe(shot, 1, np.array(vector, np.float32), masked=False)


def test_known_unknown_and_without_a_face(gallery):
    decider, remark = search_decider(card((1e-4, 0.7)), 2, fmr=1e-4)
    probes = [probe(0.8, 0.6, 0), Probe("t", reason="no face found"), probe(0, 0, 1.0)]
    ada, none, stranger = answer_all(gallery, probes, decider)
    assert remark is None
    assert (ada.person, ada.runner_up, ada.known) == ("bob", "ada", True)
    assert (ada.score, ada.runner_up_score) == pytest.approx((0.96, 0.8))
    assert (none.person, none.known, none.to_json()["reason"]) == (None, None, "no face found")
    assert (stranger.person, stranger.known) == ("unknown", False)
    assert stranger.to_json()["best"] == "ada"


def test_without_thresholds_nobody_is_named(gallery):
    decider, remark = search_decider(NO_THRESHOLDS, 2)
    (answer,) = answer_all(gallery, [probe(1, 0, 0)], decider)
    assert (answer.person, answer.best) == (None, "ada")
    assert "--threshold" in remark
    decider, remark = search_decider(NO_THRESHOLDS, 2, threshold=0.9)
    assert remark is None
    assert next(answer_all(gallery, [probe(1, 0, 0)], decider)).person == "ada"


def test_more_people_ask_for_a_higher_threshold():
    assert fpir_for(fmr_for(0.03, 500), 500) == pytest.approx(0.03)
    held = card((1e-2, 0.2), (1e-6, 0.6))
    few, many = (search_decider(held, people, fpir=0.01)[0] for people in (1, 100))
    assert few.threshold(False, False).value == pytest.approx(0.2)
    assert many.threshold(False, False).value == pytest.approx(0.4, abs=1e-3)


def test_a_card_that_does_not_reach_so_far_says_what_it_reaches():
    decider, remark = search_decider(card((1e-2, 0.2), (1e-3, 0.3)), 500)
    assert decider.threshold(False, False).value == pytest.approx(0.3)
    assert "end at FMR 0.001" in remark
    assert "0.39 of all strangers" in remark


def test_rates_that_cannot_be_are_refused():
    for wrong in ({"fpir": 0.1, "fmr": 0.1}, {"fpir": 0.0}, {"fmr": 1.0}):
        with pytest.raises(InputError):
            search_decider(card((1e-3, 0.3)), 5, **wrong)
