"""Error rates at fixed thresholds as people and as programs read them."""

from pathlib import Path

import numpy as np
import pytest

from mfrkit.evaluation.results import SystemResult
from mfrkit.evaluation.tables import threshold_rows, threshold_table
from mfrkit.evaluation.thresholds import UNMASKED, FixedThreshold, GroupRates, SourcedThreshold
from mfrkit.metrics.bootstrap import Interval, RateIntervals
from mfrkit.metrics.rates import Calibration, Decisions
from mfrkit.metrics.verification import verify


def result_with(*fixed):
    scores, same = np.array([0.9, 0.1]), np.array([True, False])
    return SystemResult(
        label="arcface",
        embeddings=Path("a.h5"),
        probes=None,
        attributes={},
        scores=scores,
        counted=np.ones(2, bool),
        missing_images=0,
        missing_pairs=0,
        figures=verify(scores, same, np.zeros(2, int)),
        fixed=fixed,
    )


@pytest.fixture
def fixed():
    setting = SourcedThreshold(Calibration(0.01, 0.35, Decisions(200, 4000, 3, 35)), UNMASKED)
    ends = RateIntervals(fmr=Interval(0.001, 0.02), fnmr=Interval(float("nan"), float("nan")))
    return FixedThreshold(
        setting,
        (
            GroupRates("", "all pairs", Decisions(200, 100, 20, 1), ends),
            GroupRates("mask", "cloth", Decisions(29, 99, 2, 1), ends),
        ),
    )


def test_people_get_the_rates_of_all_pairs(fixed):
    table = threshold_table([result_with(fixed)])
    assert table.columns[4:] == ["FMR %", "FNMR %", "accuracy %"]
    start = ["arcface", "1e-2", "0.3500", "all pairs"]
    assert table.rows == [[*start, "1.00 [0.10, 2.00] (1/100)", "10.00 (20/200)", "93.00"]]
    assert table.notes == []


def test_programs_get_one_table_without_flags(fixed):
    table = threshold_rows([result_with(fixed)], 0.95)
    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert first["set on"] == "unmasked"
    assert (first["FMR <="], first["threshold"]) == ("1e-2", "0.3500")
    assert (first["FMR low %"], first["FMR high %"], first["FNMR low %"]) == ("0.10", "2.00", "n/a")
    assert "*" not in "".join(table.rows[1])
    assert "FMR low %" not in threshold_rows([result_with(fixed)], None).columns


def test_the_list_of_a_threshold_file_comes_first_unless_it_is_here(fixed):
    carried = FixedThreshold(SourcedThreshold(fixed.setting.calibration, "t.json"), fixed.rates[:1])
    table = threshold_table([result_with(carried)])
    start = ["arcface", "1e-2", "0.3500"]
    assert table.rows[0] == [
        *start,
        "the pairs of t.json",
        "0.88 (35/4000)",
        "1.50 (3/200)",
        "99.10",
    ]
    assert len(table.rows) == 2
    assert len(threshold_table([result_with(fixed), result_with(carried)]).rows) == 2


def test_too_few_impostors_and_too_few_errors_are_said():
    short = SourcedThreshold(
        Calibration(1e-4, float("inf"), Decisions(200, 1500, 200, 0)), UNMASKED
    )
    unsure = SourcedThreshold(Calibration(1e-2, 0.4, Decisions(200, 1500, 3, 15)), UNMASKED)
    result = result_with(
        FixedThreshold(short, ()),
        FixedThreshold(unsure, (GroupRates("", "all pairs", Decisions(200, 1500, 3, 15)),)),
    )
    for_people = threshold_table([result])
    assert [cells[1] for cells in for_people.rows] == ["1e-2"]
    assert for_people.notes[0] == (
        "arcface: no threshold for FMR <= 1e-4, not enough impostors (1500 of 10000)"
    )
    assert "FMR 1e-2 rest on fewer than 30 false matches" in for_people.notes[1]
    for_programs = threshold_rows([result], None)
    assert for_programs.rows[0][3:5] == ["not enough impostors", "n/a"]
