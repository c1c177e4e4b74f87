"""Which threshold two faces are held against."""

from dataclasses import replace

import pytest

from mfrkit.errors import InputError
from mfrkit.models.cards import Operating
from mfrkit.models.registry import read_card
from mfrkit.recognition.decision import Decider, Threshold, possible_states


def point(fmr, threshold, fnmr):
    return Operating(fmr=fmr, threshold=threshold, fnmr=fnmr, genuine=900, impostors=9000)


BARE = replace(read_card("arcface")[0], thresholds={})
CARD = replace(
    BARE,
    thresholds={
        "unmasked-unmasked": [point(1e-2, 0.2, 0.01), point(1e-4, 0.4, 0.05)],
        "unmasked-masked": [point(1e-2, 0.3, 0.1), point(1e-3, 0.35, 0.2)],
        "masked-masked": [point(1e-2, 0.5, 0.3), point(1e-4, 0.7, 0.5)],
    },
)


def test_each_masked_state_has_its_own_threshold():
    decider = Decider(CARD, fmr=1e-2)
    assert decider.threshold(False, False).value == pytest.approx(0.2)
    mixed = [decider.threshold(True, False), decider.threshold(False, True)]
    assert mixed == [mixed[0]] * 2
    assert mixed[0].value == pytest.approx(0.3)
    both = decider.threshold(True, True)
    assert (both.value, both.fmr, both.fnmr) == pytest.approx((0.5, 1e-2, 0.3))
    assert both.state == "masked-masked"


def test_a_mask_in_doubt_asks_for_more():
    decider = Decider(CARD, fmr=1e-2)
    assert len(possible_states(None, None)) == 3
    assert decider.threshold(None, False) == decider.threshold(True, False)
    assert decider.threshold(None, None) == decider.threshold(True, True)


def test_between_two_rates_the_threshold_is_read_on_a_logarithmic_scale():
    found = Decider(CARD, fmr=1e-3).threshold(False, False)
    assert (found.value, found.fmr, found.fnmr) == pytest.approx((0.3, 1e-3, 0.03))


def test_a_rate_above_all_measured_gets_the_most_lenient_threshold_and_says_so():
    found = Decider(CARD, fmr=0.1).threshold(False, False)
    assert (found.value, found.fmr) == pytest.approx((0.2, 1e-2))


def test_a_rate_below_all_measured_decides_nothing():
    decider = Decider(CARD, fmr=1e-4)
    assert decider.threshold(False, False).value == pytest.approx(0.4)
    assert decider.threshold(False, True) is None
    assert decider.threshold(False, None) is None
    assert "FMR 0.0001 for unmasked-masked;" in decider.why_not


def test_a_card_without_thresholds_says_what_to_do():
    decider = Decider(BARE)
    assert decider.threshold(False, False) is None
    assert "--threshold" in decider.why_not


def test_a_threshold_given_is_for_all_states():
    decider = Decider(BARE, threshold=0.4)
    assert decider.why_not is None
    assert decider.threshold(True, None) == Threshold(0.4)


@pytest.mark.parametrize("wrong", [{"fmr": 0.0}, {"fmr": 1.0}, {"threshold": 40}])
def test_what_no_decision_can_rest_on_is_refused(wrong):
    with pytest.raises(InputError):
        Decider(CARD, **wrong)
