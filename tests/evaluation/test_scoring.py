"""Systems known by their scores alone get the figures their scores deserve."""

from pathlib import Path

import numpy as np
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.evaluate import evaluate
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.scoring import PooledTemplates
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.tables import read_templates

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
    with pytest.raises(InputError, match="embeddings.h5: not here yet; mfrkit embed makes it"):
        run(folder)
    with pytest.raises(InputError, match="--templates pools embeddings"):
        run(folder, "s.txt", templates=folder / "t.txt")
    with pytest.raises(InputError, match="no pair list given"):
        run(folder, pairs=None)


IJB = "1.jpg 10 69544\nimg/2.jpg 10 69544\n3.jpg 20 7\n4.jpg 10 8\n"


def embeddings(path: Path, keys, vectors) -> Path:
    count = len(keys)
    rows = Rows(
        np.asarray(vectors, np.float32), list(keys), [""] * count, np.ones(count, np.float32),
        np.zeros(count, np.int8), [""] * count, np.arange(count), [], [], np.arange(0),
    )  # fmt: skip
    write_embeddings(path, [rows], np.shape(vectors)[1], {})
    return path


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "t.txt").write_text(text)
        return read_templates(tmp_path / "t.txt")

    return read


def test_a_template_worked_by_hand(tmp_path, read):
    """Two frames of a video and a photo: (mean of (1,0) and (0,1)) + (0,1) = (0.5, 1.5)."""
    path = embeddings(tmp_path / "e.h5", ["1", "img/2", "3", "4"], [[3, 0], [0, 5], [0, 0], [0, 1]])
    with EmbeddingReader(path) as reader:
        pooled = PooledTemplates(reader, read(IJB))
        assert pooled.index == {"10": 0}
        assert pooled.skipped == {"20": "none of its 1 pictures has one"}
        assert pooled.missing == 1
        np.testing.assert_allclose(
            pooled.rows(np.array([0])), [[0.5 / 2.5**0.5, 1.5 / 2.5**0.5]], rtol=1e-6
        )


def test_pooling_against_a_plain_loop_in_blocks_of_every_size(tmp_path, read, monkeypatch):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 4))
    lines = [f"i{n} t{random.integers(6)} m{random.integers(12)}" for n in range(60)]
    lines += [f"gone{n} t{n} m1" for n in range(3)]
    templates = read("\n".join(lines))
    path = embeddings(tmp_path / "e.h5", [f"i{n}" for n in range(60)], vectors)
    expected = {}
    for name in templates.names:
        media = {}
        for n, line in enumerate(lines[:60]):
            _, template, medium = line.split()
            if template == name:
                media.setdefault(medium, []).append(vectors[n] / np.linalg.norm(vectors[n]))
        total = sum(np.mean(group, axis=0) for group in media.values())
        expected[name] = total / np.linalg.norm(total)
    for block in (1, 2, 7, 1000):
        monkeypatch.setattr("mfrkit.evaluation.scoring._BLOCK", block)
        with EmbeddingReader(path) as reader:
            pooled = PooledTemplates(reader, templates)
            for name, row in pooled.index.items():
                np.testing.assert_allclose(
                    pooled.rows(np.array([row]))[0], expected[name], atol=1e-6
                )
            assert pooled.missing == 3


def test_an_empty_file_has_no_templates(tmp_path, read):
    path = embeddings(tmp_path / "e.h5", [], np.empty((0, 4)))
    with EmbeddingReader(path) as reader:
        pooled = PooledTemplates(reader, read(IJB))
    assert (pooled.index, len(pooled.skipped), pooled.missing) == ({}, 2, 4)


def test_eval_compares_templates(tmp_path, capsys):
    random = np.random.default_rng(1)
    people = random.normal(size=(20, 8)).repeat(6, axis=0)
    vectors = people + 0.8 * random.normal(size=people.shape)
    keys = [f"p{n // 6}/{n % 6}" for n in range(120)]
    path = embeddings(tmp_path / "e.h5", keys, vectors)
    lines = [f"{key}.jpg {n // 3} {n // 2}" for n, key in enumerate(keys)] + ["lost.jpg 0 99"]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    pairs = [f"{2 * n} {2 * n + 1} 1\n{2 * n} {(2 * n + 3) % 40} 0\n" for n in range(20)]
    (tmp_path / "pairs.txt").write_text("".join(pairs))
    options = EvalOptions(tmp_path / "pairs.txt", (path,), templates=tmp_path / "t.txt")
    result = evaluate(options, Console())[0]
    assert result["genuine"]["count"] == result["impostor"]["count"] == 20
    assert result["eer"]["rate"] < 0.05
    assert "no embedding for 1 of the 121 pictures" in capsys.readouterr().err
