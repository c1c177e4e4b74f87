"""The bootstrap over people against pairs written out as often as they were drawn."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.bootstrap import (
    Confidence,
    Outcomes,
    PairSubjects,
    bootstrap,
    difference,
    draw_weights,
    figures_of,
    interval,
    mcnemar,
    rate_intervals,
)
from mfrkit.metrics.rates import decide
from mfrkit.metrics.verification import verify

FAR = (0.1, 0.01)


def draw(seed: int, people: int = 30, count: int = 200):
    """Pairs among few people, with ties, and some failed comparisons."""
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.5
    first = random.integers(people, size=count)
    second = np.where(same, first, (first + random.integers(1, people, size=count)) % people)
    scores = np.round(np.clip(random.normal(np.where(same, 0.5, 0.1), 0.2), -1, 1), 2)
    scores[::23] = -np.inf
    return scores, same, np.arange(count) % 5, PairSubjects(first, second, people)


def test_weights_are_products_of_how_often_people_were_drawn():
    *_, people = draw(0)
    random = np.random.default_rng(7)
    for weights in np.concatenate(list(draw_weights(people, resamples=20, seed=7))):
        times = [0] * people.count
        for person in random.integers(people.count, size=people.count):
            times[person] += 1
        for weight, a, b in zip(weights, people.first, people.second, strict=True):
            assert weight == (times[a] if a == b else times[a] * times[b])


@pytest.mark.parametrize("seed", range(3))
def test_each_resample_has_the_figures_of_its_pairs_written_out(seed):
    scores, same, fold, people = draw(seed)
    samples = bootstrap(scores, same, fold, people, FAR, resamples=12, seed=3)
    for place, weights in enumerate(np.concatenate(list(draw_weights(people, 12, seed=3)))):
        copies = np.repeat(np.arange(scores.size), weights.astype(int))
        expected = figures_of(verify(scores[copies], same[copies], fold[copies], FAR))
        assert set(expected) == set(samples)
        for name, value in expected.items():
            assert samples[name][place] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_blocks_do_not_matter(monkeypatch):
    scores, same, fold, people = draw(1)
    whole = bootstrap(scores, same, fold, people, FAR, resamples=17)
    monkeypatch.setattr("mfrkit.metrics.bootstrap._BLOCK_VALUES", 3 * scores.size)
    pieces = bootstrap(scores, same, fold, people, FAR, resamples=17)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, pieces[name])


def test_independent_people_give_the_textbook_spread():
    # The AUC of n + n independent people is as wide as Hanley and McNeil (Radiology 143) say.
    random = np.random.default_rng(0)
    count = 300
    same = np.arange(2 * count) < count
    scores = random.normal(np.where(same, 1.0, 0.0), 1.0) / 10
    alone = PairSubjects(np.arange(2 * count), np.arange(2 * count), 2 * count)
    samples = bootstrap(scores, same, np.zeros(2 * count, int), alone)["auc"]
    area = (scores[:count, None] > scores[None, count:]).mean()
    q1 = ((scores[:count, None] > scores[None, count:]).mean(axis=1) ** 2).mean()
    q2 = ((scores[:count, None] > scores[None, count:]).mean(axis=0) ** 2).mean()
    variance = (area * (1 - area) + (count - 1) * (q1 + q2 - 2 * area**2)) / count**2
    assert samples.mean() == pytest.approx(area, abs=0.003)
    assert samples.std() == pytest.approx(np.sqrt(variance), rel=0.1)


def test_pairs_of_few_people_are_worth_less_than_pairs_of_many():
    random = np.random.default_rng(0)
    levels = np.clip(random.normal(0.3, 0.2, 20).repeat(20), -1, 1)  # 20 people, 20 pairs each
    scores, same = np.append(levels, random.normal(0, 0.1, 400)), np.arange(800) < 400
    fold = np.zeros(800, int)
    few, many = np.append(np.repeat(np.arange(20), 20), np.arange(20, 420)), np.arange(800)
    clustered = bootstrap(scores, same, fold, PairSubjects(few, few, 420))["auc"].std()
    independent = bootstrap(scores, same, fold, PairSubjects(many, many, 800))["auc"].std()
    assert clustered > 2 * independent


def test_a_resample_without_impostors_says_nothing():
    people = PairSubjects(np.array([0, 0]), np.array([0, 1]), 3)
    samples = bootstrap(np.array([0.9, 0.1]), np.array([True, False]), np.zeros(2, int), people)
    kept = np.concatenate(list(draw_weights(people)))
    assert np.isnan(samples["auc"]).sum() == (kept.min(axis=1) == 0).sum() > 0
    assert np.isnan(samples["accuracy"]).all()  # one fold
    assert interval(samples["eer"], 0.95).high == 0.0
    assert np.isnan(interval(samples["accuracy"], 0.95).low)


def test_all_failed():
    people = PairSubjects(np.arange(4), np.arange(4), 4)
    samples = bootstrap(np.full(4, -np.inf), np.arange(4) < 2, np.zeros(4, int), people, (0.5,))
    assert np.nanmax(samples["tar@0.5"]) == 0.0
    assert np.isnan(samples["fdr"]).all()


def test_bad_arguments_are_refused():
    people = PairSubjects(np.arange(2), np.arange(2), 2)
    with pytest.raises(ShapeError, match="3 scores, but the people of 2 pairs"):
        bootstrap(np.zeros(3), np.arange(3) < 1, np.zeros(3, int), people)
    with pytest.raises(InputError, match="needs people"):
        next(draw_weights(PairSubjects(np.zeros(0, int), np.zeros(0, int), 0)))


@pytest.mark.parametrize(("only_first", "only_second"), [(1, 0), (3, 9), (40, 41), (200, 120)])
def test_p_is_that_of_the_binomial_test(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True] * 50 + [False] * 7)
    second = np.array([False] * only_first + [True] * only_second + [True] * 50 + [False] * 7)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    expected = binomtest(only_first, only_first + only_second).pvalue
    assert found.p == pytest.approx(expected, rel=1e-9)


def test_systems_that_decide_alike_do_not_differ():
    assert mcnemar(np.ones(9, bool), np.ones(9, bool)).p == 1.0
    with pytest.raises(ShapeError, match="9 vs 8"):
        mcnemar(np.ones(9, bool), np.ones(8, bool))


def test_a_system_does_not_differ_from_itself():
    samples = np.random.default_rng(0).normal(size=999)
    found = difference(0.0, samples, samples, 0.95)
    assert (found.interval.low, found.interval.high, found.p) == (0.0, 0.0, 1.0)


def test_turned_resamples_are_counted_by_hand():
    # 3 of 99 resamples turn the sign: p = 2 (1 + 3) / (1 + 99)
    gaps = np.append(np.full(96, 1.0), [-1.0, -1.0, 0.0])
    assert difference(1.0, gaps, np.zeros(99), 0.95).p == pytest.approx(0.08)
    assert np.isnan(difference(np.nan, np.full(3, np.nan), np.zeros(3), 0.95).p)


def test_pairing_finds_a_small_difference_that_overlapping_intervals_hide():
    random = np.random.default_rng(0)
    same = np.arange(2000) < 1000
    scores = np.clip(random.normal(np.where(same, 0.3, 0.0), 0.15), -1, 1)
    worse = np.clip(scores - 0.02 * same, -1, 1)
    people = PairSubjects(np.arange(2000), np.arange(2000), 2000)
    fold = np.arange(2000) % 10
    a, b = (bootstrap(s, same, fold, people, resamples=400)["eer"] for s in (worse, scores))
    assert np.quantile(b, 0.975) > np.quantile(a, 0.025)
    assert difference(float(a.mean() - b.mean()), a, b, 0.95).interval.low > 0


def draw_groups(seed: int, count: int = 400, people: int = 60):
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.5
    scores = random.normal(np.where(same, 0.5, 0.1), 0.2)
    first = random.integers(people, size=count)
    second = np.where(same, first, (first + 1) % people)
    return scores, same, random.integers(0, 4, count), PairSubjects(first, second, people)


def test_groups_are_counted_apart_and_the_last_is_left_out():
    scores, same, group, _ = draw_groups(0)
    found = Outcomes(same, scores >= 0.3, group, 3).decisions()
    assert len(found) == 3
    for place, cell in enumerate(found):
        assert cell == decide(scores[group == place], same[group == place], 0.3)


def test_intervals_are_those_of_the_pairs_written_out():
    scores, same, group, people = draw_groups(1)
    table = Outcomes(same, scores >= 0.3, group, 3)
    fmr = np.full((1000, 3), np.nan)
    for row, weights in enumerate(np.concatenate(list(draw_weights(people, seed=5)))):
        copies = np.repeat(np.arange(scores.size), weights.astype(int))
        for place in range(3):
            mine = copies[group[copies] == place]
            fmr[row, place] = decide(scores[mine], same[mine], 0.3).fmr
    both = rate_intervals([table, table], Confidence(0.9, 5, people, "names"))
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
    found = rate_intervals([table], Confidence(0.95, 0, people, "names"))[0][0]
    for cell, errors in ((found.fmr, 20 * accepted), (found.fnmr, 20 * (not accepted))):
        exact = binomtest(errors, 20).proportion_ci(0.95, method="exact")
        assert [cell.low, cell.high] == pytest.approx([exact.low, exact.high])


def test_a_group_without_impostors_has_no_false_match_rate():
    same, nobody = np.ones(4, bool), np.zeros(4, bool)
    people = PairSubjects(np.arange(4), np.arange(4), 4)
    found = rate_intervals(
        [Outcomes(same, nobody, np.zeros(4, int), 1)], Confidence(0.95, 0, people, "names")
    )[0][0]
    assert np.isnan(found.fmr.low)
    assert found.fnmr.high == 1.0
