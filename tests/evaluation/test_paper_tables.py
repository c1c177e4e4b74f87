"""Tables for a paper: the right figures, the best ones in bold, names that LaTeX can take."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.benchmark_options import BenchmarkOptions
from mfrkit.evaluation.paper_tables import (
    conditions_table,
    kinds_table,
    read_results,
    refuse_others,
    write_tables,
)
from mfrkit.evaluation.results import SystemResult, to_json
from mfrkit.evaluation.thresholds import (
    FixedThreshold,
    GroupRates,
    SourcedThreshold,
    threshold_from_record,
    threshold_record,
)
from mfrkit.metrics.bootstrap import Interval, RateIntervals
from mfrkit.metrics.rates import Calibration, Decisions
from mfrkit.metrics.verification import verify

COUNT = 400
SAME = np.arange(COUNT) % 2 == 0
LATEX = shutil.which("pdflatex")


def thresholds(errors):
    """One threshold, and what it does to two kinds of mask."""
    setting = SourcedThreshold(Calibration(1e-2, 0.5, Decisions(200, 200, 1, 2)), "thresholds.json")
    ends = RateIntervals(Interval(0.0, 0.01), Interval(0.01, 0.2))
    kinds = zip(("cloth", "n95"), errors, strict=True)
    rates = [GroupRates("mask", kind, Decisions(100, 100, n, 0), ends) for kind, n in kinds]
    rates += [GroupRates("coverage", "above", Decisions(200, 200, sum(errors), 0), ends)]
    return (
        FixedThreshold(setting, (GroupRates("", "all pairs", Decisions(200, 200, 9, 0)), *rates)),
    )


def result(label, wrong, **more):
    """A system that rejects `wrong` of 200 genuine pairs at every threshold."""
    scores = np.where(SAME, 0.9, 0.1)
    scores[np.flatnonzero(SAME)[:wrong]] = 0.05
    figures = verify(scores, SAME, np.arange(COUNT) % 4)
    kept = np.ones(COUNT, bool)
    record = SystemResult(
        label, Path("e.h5"), None, {}, scores, kept, 0, 0, figures,
        intervals={"eer": Interval(0.001, 0.0234)}, **more,
    )  # fmt: skip
    return to_json(record)


@pytest.fixture
def document():
    results = [
        result("a_b & co unmasked", 2),
        result("a_b & co probe masked", 10, fixed=thresholds((4, 2))),
        result("*c[1] unmasked", 4),
        result("*c[1] probe masked", 6, fixed=thresholds((3, 2))),
    ]
    return {
        "pairs": {"path": "lists/pairs_1.txt", "count": COUNT},
        "bootstrap": {"level": 0.95},
        "results": results,
    }


def test_models_by_conditions_with_the_best_in_bold(document):
    table = conditions_table(document, ("fmr100", "tar@0.01"))
    assert table.groups == [("unmasked", 2), ("probe masked", 2)]
    assert table.columns == ["model", *["FMR100 %", "TAR@1e-2 %"] * 2]
    assert table.rows == [
        ["a_b & co", "1.00", "99.00", "5.00", "95.00"],
        ["*c[1]", "2.00", "98.00", "3.00", "97.00"],
    ]
    assert table.best == {(0, 1), (0, 2), (1, 3), (1, 4)}
    assert table.full_columns[3] == "probe masked FMR100 %"


def test_figures_on_too_few_pairs_are_marked_and_do_not_compete(document):
    table = conditions_table(document, ("fmr1000",))
    assert table.rows[0] == ["a_b & co", "1.00*", "5.00*"]
    assert table.best == frozenset()
    assert table.notes == ["* rests on fewer impostor pairs than 1/FAR"]


def test_kinds_by_models(document):
    table = kinds_table(document, with_intervals=False)
    assert table.columns == ["mask", "FMR <=", "pairs", "a_b & co", "*c[1]"]
    assert table.rows == [
        ["all pairs", "1e-2", "200", "4.50", "4.50"],
        ["cloth", "1e-2", "100", "4.00", "3.00"],
        ["n95", "1e-2", "100", "2.00", "2.00"],
    ]
    assert table.best == {(1, 4)}
    sure = kinds_table(document, with_intervals=True)
    assert sure.rows[1][3:] == ["4.00 [1.00, 20.00]", "3.00 [1.00, 20.00]"]


def test_intervals_if_asked_for(document):
    table = conditions_table(document, ("eer",), 95)
    assert table.rows[0][1].endswith(" [0.10, 2.34]")
    assert table.notes == ["in brackets: 95 % intervals"]
    with pytest.raises(InputError, match="hold no 90 % intervals; run mfrkit benchmark with"):
        conditions_table(document, ("eer",), 90)


def test_a_figure_the_results_lack_is_refused(document):
    with pytest.raises(InputError, match=r"hold no tar@1e-5; run .* --figures tar@1e-5"):
        conditions_table(document, ("tar@1e-5",))
    for name in ("frr", "tar@", "tar@2", "far@0.1"):
        with pytest.raises(InputError, match=f"--figures '{name}': expected eer, "):
            BenchmarkOptions(tables=(Path("t.md"),), figures=(name,))


def test_real_masks_have_one_condition_and_no_kinds(document):
    document["results"] = [result("mfr", 2), result("arcface", 4)]
    table = conditions_table(document, ("fmr100",))
    assert table.columns == ["model", "FMR100 %"]
    assert not table.groups
    assert kinds_table(document, with_intervals=False).rows == []


def test_files_may_be_written_again_but_not_over_somebody_elses(document, tmp_path):
    paths = (tmp_path / "t.tex", tmp_path / "t.md")
    for _ in range(2):
        refuse_others(BenchmarkOptions(tables=paths))
        write_tables(document, BenchmarkOptions(tables=paths), Console(-1))
    assert r"**3.00**" in paths[1].read_text()
    paths[0].write_text("my thesis")
    with pytest.raises(InputError, match=r"t.tex: exists and was not written by mfrkit"):
        refuse_others(BenchmarkOptions(tables=paths))
    assert paths[0].read_text() == "my thesis"
    refuse_others(BenchmarkOptions(tables=paths, run=RunOptions(force=True)))
    with pytest.raises(InputError, match=r"t.csv': expected a name ending in .md or .tex"):
        BenchmarkOptions(tables=(tmp_path / "t.csv",))


def test_latex_is_escaped_and_in_bold(document, tmp_path):
    options = BenchmarkOptions(tables=(tmp_path / "t.tex",), figures=("fmr100",))
    write_tables(document, options, Console(-1))
    text = (tmp_path / "t.tex").read_text()
    assert r" & \multicolumn{1}{c}{unmasked} & \multicolumn{1}{c}{probe masked} \\" in text
    assert r"\cmidrule(lr){2-2}\cmidrule(lr){3-3}" in text
    assert r"a\_b \& co & \textbf{1.00} & 5.00 \\" in text
    assert "{*}c{[}1] & 2.00" in text
    assert r"mask & FMR $\leq$ & pairs" in text


@pytest.mark.skipif(LATEX is None, reason="no LaTeX on this machine")
def test_latex_compiles(document, tmp_path):
    figures = ("eer", "auc", "tar@1e-3")
    options = BenchmarkOptions(tables=(tmp_path / "t.tex",), figures=figures, ci=95.0)
    write_tables(document, options, Console(-1))
    (tmp_path / "p.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{t.tex}\end{document}"
    )
    command = [LATEX, "-interaction=nonstopmode", "-halt-on-error", "p.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-800:]


def test_thresholds_survive_the_file():
    (fixed,) = thresholds((4, 2))
    assert threshold_from_record(threshold_record(fixed)) == fixed


def test_pair_lists_are_named_by_their_file(document):
    assert conditions_table(document, ("eer",)).title == "pairs_1.txt, 400 pairs"


def test_what_is_no_result_is_refused(document, tmp_path):
    options = BenchmarkOptions(tables=(tmp_path / "t.md",))
    for damaged in ({}, {"results": []}, {**document, "results": [{"system": "a"}]}):
        with pytest.raises(InputError, match="no results of mfrkit benchmark"):
            write_tables(damaged, options, Console(-1))
    assert not (tmp_path / "t.md").exists()
    with pytest.raises(InputError, match=r"results.json: no such file; name a pair list"):
        read_results(tmp_path)
