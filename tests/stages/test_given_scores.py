"""Systems known by their scores alone get the figures their scores deserve."""

import numpy as np
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.evaluate import evaluate

ROWS = [(f"p{n}/1", f"p{n if n % 2 else n + 1}/2", n % 2, n % 5) for n in range(200)]
SCORES = np.clip(
    np.random.default_rng(0).normal([0.5 if row[2] else 0.1 for row in ROWS], 0.2), -1, 1
)


@pytest.fixture
def folder(tmp_path):
    lines = [f"{a},{b},{same},{fold}\n" for a, b, same, fold in ROWS]
    (tmp_path / "pairs.csv").write_text("a,b,same,fold\n" + "".join(lines))
    write(tmp_path / "s.txt", SCORES)
    return tmp_path


def write(path, scores, rows=ROWS, order=None):
    lines = [
        f"{a} {b} {same} {fold} {score!r}\n"
        for (a, b, same, fold), score in zip(rows, np.asarray(scores).tolist(), strict=True)
    ]
    path.write_text("".join(lines if order is None else [lines[place] for place in order]))


def run(folder, *files, pairs="pairs.csv", **options):
    chosen = EvalOptions(
        pairs=folder / pairs if pairs else None,
        embeddings=(),
        scores_in=tuple(folder / name for name in files),
        **options,
    )
    return evaluate(chosen, Console(-1))


@pytest.fixture(autouse=True)
def no_table(monkeypatch):
    monkeypatch.setattr(Console, "table", lambda *_: None)


def without_name(result):
    return {name: value for name, value in result.items() if name not in ("system", "embeddings")}


def test_order_and_direction_of_the_pairs_do_not_matter(folder):
    expected = run(folder, "s.txt")[0]
    write(folder / "t.txt", SCORES, order=np.random.default_rng(1).permutation(200).tolist())
    write(folder / "u.txt", SCORES, [(b, a, same, fold) for a, b, same, fold in ROWS])
    for name in ("t.txt", "u.txt"):
        assert without_name(run(folder, name)[0]) == without_name(expected)


def test_the_pairs_may_come_from_the_score_file(folder):
    assert run(folder, "s.txt", pairs=None) == run(folder, "s.txt")


def test_what_scores_writes_scores_in_reads(folder):
    write(folder / "t.txt", SCORES * 0.5)
    before = run(folder, "s.txt", "t.txt", scores=folder / "out.tsv")
    after = run(folder, "out.tsv", pairs=None)
    assert [result["system"] for result in after] == ["s", "t"]
    for one, two in zip(before, after, strict=True):
        assert {**without_name(one), "model": None} == {**without_name(two), "model": None}


def test_left_out_and_failed_pairs_survive_the_round_trip(folder):
    scores = SCORES.copy()
    scores[:10] = np.nan
    write(folder / "s.txt", scores)
    with pytest.raises(
        InputError, match=r"no score for 10 of the 200 pairs in the list: p0/1 p1/2"
    ):
        run(folder, "s.txt")
    for policy in ("drop", "reject"):
        before = run(folder, "s.txt", missing=policy, scores=folder / f"{policy}.tsv")[0]
        assert before["missing"] == {"images": 0, "pairs": 10}
        after = run(folder, f"{policy}.tsv", missing=policy, pairs=None)[0]
        assert without_name(after) == without_name(before)
    assert run(folder, "reject.tsv")[0]["genuine"]["failed"] == 5  # -inf needs no --missing


def test_scores_that_are_no_cosines_have_no_fold_accuracy(folder, capsys):
    expected = run(folder, "s.txt")[0]
    write(folder / "s.txt", 50 * SCORES + 50)
    result = run(folder, "s.txt", report=folder / "r.html", plots=(folder / "p.svg",))[0]
    assert result["accuracy"]["mean"] is None
    for name in ("auc", "fmr100"):
        assert {**result, "fmr100": result["fmr100"]["fnmr"]}[name] == pytest.approx(
            {**expected, "fmr100": expected["fmr100"]["fnmr"]}[name]
        )
    assert result["eer"]["rate"] == pytest.approx(expected["eer"]["rate"])
    assert result["eer"]["threshold"] == pytest.approx(50 * expected["eer"]["threshold"] + 50)


def test_distances_are_suspected(folder, capsys):
    write(folder / "s.txt", 1 - SCORES)
    options = EvalOptions(pairs=None, embeddings=(), scores_in=(folder / "s.txt",))
    evaluate(options, Console())
    assert "are these distances?" in capsys.readouterr().err


def test_contradictions_are_refused(folder):
    flipped = [(*ROWS[0][:2], 1, 0), *ROWS[1:]]
    write(folder / "t.txt", SCORES, flipped)
    with pytest.raises(InputError, match=r"t.txt, line 1: contradicts .*pairs.csv, line 2"):
        run(folder, "t.txt")
    write(folder / "t.txt", [*SCORES, 0.123], [*ROWS, ROWS[0]])
    with pytest.raises(InputError, match=r"t.txt, line 201: scores the pair of line 1 again"):
        run(folder, "t.txt")
    write(folder / "t.txt", SCORES, [(f"x{a}", b, same, fold) for a, b, same, fold in ROWS])
    with pytest.raises(InputError, match="has none of the pairs of"):
        run(folder, "t.txt")


def test_nothing_to_evaluate(folder):
    with pytest.raises(InputError, match="no embedding file given"):
        run(folder)
    with pytest.raises(InputError, match="--templates pools embeddings"):
        run(folder, "s.txt", templates=folder / "t.txt")
    with pytest.raises(InputError, match="no pair list given"):
        run(folder, pairs=None)
