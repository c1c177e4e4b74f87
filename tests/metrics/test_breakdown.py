"""Error rates of groups, counted one pair at a time, and their intervals."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mfrkit.metrics.bootstrap import PairSubjects, draw_weights
from mfrkit.metrics.calibration import Outcomes, decide, rate_intervals


def draw(seed: int, count: int = 400, people: int = 60):
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.5
    scores = random.normal(np.where(same, 0.5, 0.1), 0.2)
    first = random.integers(people, size=count)
    second = np.where(same, first, (first + 1) % people)
    return scores, same, random.integers(0, 4, count), PairSubjects(first, second, people)


def test_groups_are_counted_apart_and_the_last_is_left_out():
    scores, same, group, _ = draw(0)
    found = Outcomes(same, scores >= 0.3, group, 3).decisions()
    assert len(found) == 3
    for place, cell in enumerate(found):
        assert cell == decide(scores[group == place], same[group == place], 0.3)


def test_intervals_are_those_of_the_pairs_written_out():
    scores, same, group, people = draw(1)
    table = Outcomes(same, scores >= 0.3, group, 3)
    fmr = np.full((1000, 3), np.nan)
    for row, weights in enumerate(np.concatenate(list(draw_weights(people, seed=5)))):
        copies = np.repeat(np.arange(scores.size), weights.astype(int))
        for place in range(3):
            mine = copies[group[copies] == place]
            fmr[row, place] = decide(scores[mine], same[mine], 0.3).fmr
    both = rate_intervals([table, table], people, 0.9, seed=5)
    assert both[0] == both[1]
    for place, cell in enumerate(both[0]):
        expected = np.nanquantile(fmr[:, place], [0.05, 0.95])
        assert [cell.fmr.low, cell.fmr.high] == pytest.approx(expected.tolist())


@pytest.mark.parametrize("accepted", [True, False])
def test_without_errors_the_interval_is_the_exact_binomial_one(accepted):
    # 20 people with 3 genuine pairs each, 40 people in 20 impostor pairs, all decided alike
    same = np.arange(80) < 60
    first = np.append(np.repeat(np.arange(20), 3), np.arange(20, 40))
    people = PairSubjects(first, np.where(same, first, first + 20), 60)
    table = Outcomes(same, np.full(80, accepted), np.zeros(80, int), 1)
    found = rate_intervals([table], people, 0.95)[0][0]
    for cell, errors in ((found.fmr, 20 * accepted), (found.fnmr, 20 * (not accepted))):
        exact = binomtest(errors, 20).proportion_ci(0.95, method="exact")
        assert [cell.low, cell.high] == pytest.approx([exact.low, exact.high])


def test_a_group_without_impostors_has_no_false_match_rate():
    same, nobody = np.ones(4, bool), np.zeros(4, bool)
    people = PairSubjects(np.arange(4), np.arange(4), 4)
    found = rate_intervals([Outcomes(same, nobody, np.zeros(4, int), 1)], people, 0.95)[0][0]
    assert np.isnan(found.fmr.low)
    assert found.fnmr.high == 1.0
