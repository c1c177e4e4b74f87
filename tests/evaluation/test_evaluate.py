"""Evaluation from files: figures, missing images, labels, outputs, and messages."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import mfrkit
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.evaluate import EvalOptions, evaluate
from mfrkit.evaluation.options import one_of
from mfrkit.evaluation.scoring import distinct_labels
from mfrkit.io.embeddings import Rows, write_embeddings
from mfrkit.io.pairs import read_pairs

PEOPLE, PHOTOS, DIM = 40, 4, 16


class Recorder(Console):
    """A console that remembers instead of writing."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self.terminal, self.lines, self.said, self.shown = terminal, [], [], []

    @property
    def is_terminal_out(self) -> bool:
        return self.terminal

    def data(self, text: str) -> None:
        self.lines.append(text)

    def table(self, title, columns, rows) -> None:
        self.shown = [list(columns), *map(list, rows)]

    def _say(self, text: str) -> None:
        self.said.append(text)


def write(path: Path, keys, vectors, skipped=(), **attributes) -> Path:
    count = len(keys)
    rows = Rows(
        embeddings=np.asarray(vectors, np.float32),
        keys=list(keys),
        identities=[""] * count,
        norms=np.ones(count, np.float32),
        masked=np.zeros(count, np.int8),
        mask_type=[""] * count,
        positions=np.arange(count),
        skipped_keys=[key for key, _ in skipped],
        skipped_reasons=[reason for _, reason in skipped],
        skipped_positions=np.arange(len(skipped)) + count,
    )
    write_embeddings(path, [rows], np.shape(vectors)[1], attributes)
    return path


def draw_faces(seed: int, noise: float):
    """Keys and vectors: each person is a direction, each photo that direction plus noise."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(PEOPLE, DIM))
    keys = [f"P{p}/P{p}_{n:04d}" for p in range(PEOPLE) for n in range(1, PHOTOS + 1)]
    vectors = centres.repeat(PHOTOS, axis=0) + noise * random.normal(size=(len(keys), DIM))
    return keys, vectors


@pytest.fixture
def folder(tmp_path):
    """A pair list of 4 folds with 20 + 20 pairs, and embeddings `good.h5` and `poor.h5`."""
    lines = ["4 20"]
    for fold in range(4):
        people = range(10 * fold, 10 * fold + 10)
        lines += [f"P{p} 1 {n}" for p in people for n in (2, 3)]
        lines += [f"P{p} 1 P{(p + n) % PEOPLE} 2" for p in people for n in (1, 2)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    write(tmp_path / "good.h5", *draw_faces(1, 0.4), model="arcface", weights_sha256="aa")
    write(tmp_path / "poor.h5", *draw_faces(2, 1.5), model="arcface", weights_sha256="aa")
    return tmp_path


def run(folder: Path, *files: str, console: Console | None = None, **options):
    embeddings = tuple(folder / name for name in files or ("good.h5",))
    chosen = EvalOptions(pairs=folder / "pairs.txt", embeddings=embeddings, **options)
    return evaluate(chosen, console or Recorder())


def drop_rows(path: Path, gone: set[str], to: Path, reason: str = "") -> Path:
    with h5py.File(path) as file:
        keys = [key.decode() for key in file["keys"][:]]
        vectors = file["embeddings"][:]
    kept = [place for place, key in enumerate(keys) if key not in gone]
    skipped = [(key, reason) for key in gone] if reason else []
    return write(to, [keys[place] for place in kept], vectors[kept], skipped)


def test_scores_are_cosines_of_the_named_rows(folder):
    run(folder, scores=folder / "s.tsv")
    keys, vectors = draw_faces(1, 0.4)
    place = {key: n for n, key in enumerate(keys)}
    unit = vectors.astype(np.float32) / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = read_pairs(folder / "pairs.txt")
    with (folder / "s.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 160
    for row, a, b, same, fold in zip(rows, pairs.a, pairs.b, pairs.same, pairs.fold, strict=True):
        assert (row["key_a"], row["key_b"]) == (a, b)
        assert (int(row["same"]), int(row["fold"])) == (same, fold)
        assert float(row["score"]) == pytest.approx(unit[place[a]] @ unit[place[b]], abs=1e-6)


def test_small_blocks_give_the_same_scores(folder, monkeypatch):
    whole = run(folder)
    monkeypatch.setattr("mfrkit.evaluation.scoring._BLOCK_BYTES", 4 * DIM * 7)
    assert run(folder) == whole


def test_scores_file_is_itself_a_pair_list(folder):
    before = run(folder, scores=folder / "s.tsv")
    (folder / "s.tsv").rename(folder / "pairs.txt")
    assert run(folder) == before


def test_a_better_system_scores_better(folder):
    good, poor = run(folder, "good.h5", "poor.h5")
    assert good["accuracy"]["mean"] > 0.97 > poor["accuracy"]["mean"]
    assert good["auc"] > poor["auc"]
    assert [fold["fold"] for fold in good["accuracy"]["folds"]] == [0, 1, 2, 3]
    assert good["genuine"]["count"] == good["impostor"]["count"] == 80


def test_json_is_one_object_with_the_definitions(folder):
    console = Recorder()
    results = run(folder, console=console, json=True)
    assert len(console.lines) == 1
    assert console.shown == []
    document = json.loads(console.lines[0])
    assert document["schema"] == 1
    assert document["results"] == results
    assert document["pairs"] == {
        "path": str(folder / "pairs.txt"),
        "format": "lfw",
        "count": 160,
        "genuine": 80,
        "impostor": 80,
        "folds": 4,
    }
    assert "first maximum" in document["definitions"]["accuracy"]
    assert results[0]["tar_at_far"][2]["enough_impostors"] is False
    assert results[0]["tar_at_far"][0]["target"] == 0.01


def test_table_has_a_line_a_system_for_programs_and_a_column_for_people(folder):
    pipe, terminal = Recorder(), Recorder(terminal=True)
    run(folder, "good.h5", "poor.h5", console=pipe)
    run(folder, "good.h5", "poor.h5", console=terminal)
    assert [row[0] for row in pipe.shown] == ["system", "good", "poor"]
    assert terminal.shown[0] == ["system", "good", "poor"]
    assert "*" not in "".join(pipe.shown[1])
    assert all(float(cell) >= 0 for cell in pipe.shown[1][1:11])
    assert dict(zip(pipe.shown[0], pipe.shown[1], strict=True))["pairs"] == "160"
    assert any("too few impostor pairs (80)" in line for line in terminal.said)


def test_probes_come_from_their_own_file(folder):
    keys, vectors = draw_faces(1, 0.4)
    write(folder / "first.h5", [k for k in keys if k.endswith("1")], vectors[::4])
    others = [place for place, key in enumerate(keys) if not key.endswith("1")]
    write(folder / "second.h5", [keys[p] for p in others], vectors[others])
    split = run(folder, "first.h5", probes=(folder / "second.h5",))[0]
    whole = run(folder, "good.h5")[0]
    assert split["accuracy"] == whole["accuracy"]
    assert split["genuine"] == whole["genuine"]
    assert split["probes"].endswith("second.h5")


def test_probes_of_another_model_are_remarked_on(folder):
    write(folder / "other.h5", *draw_faces(1, 0.4), model="student", weights_sha256="bb")
    console = Recorder()
    run(folder, "good.h5", probes=(folder / "other.h5",), console=console)
    assert any("differ in weights_sha256: aa and bb" in line for line in console.said)


def test_probes_of_another_size_are_refused(folder):
    write(folder / "wide.h5", ["P0/P0_0002"], np.ones((1, DIM + 1)))
    with pytest.raises(InputError, match=r"wide.h5: vectors of 17 values .* 16 of .*good.h5"):
        run(folder, "good.h5", probes=(folder / "wide.h5",))


def test_missing_images_are_named_with_their_reason(folder):
    drop_rows(folder / "good.h5", {"P0/P0_0001", "P3/P3_0002"}, folder / "e.h5", "no face")
    with pytest.raises(InputError) as caught:
        run(folder, "e.h5")
    text = str(caught.value)
    assert "e.h5: no embedding for 2 of the 120 images in the list" in text
    assert "P0/P0_0001 (no face)" in text
    assert "--missing reject" in text
    assert "--missing drop" in text
    assert "\n" not in text


def test_many_missing_images_are_counted_not_listed(folder):
    gone = {f"P{p}/P{p}_0001" for p in range(30)}
    drop_rows(folder / "good.h5", gone, folder / "e.h5")
    with pytest.raises(InputError, match=r"30 of the 120 .*: P0/P0_0001, P1/P1_0001, P2/P2_0001, "):
        run(folder, "e.h5")


def test_reject_counts_missing_pairs_as_failures(folder):
    drop_rows(folder / "good.h5", {"P0/P0_0001"}, folder / "e.h5")  # 2 genuine, 2 impostor pairs
    console = Recorder()
    whole = run(folder, "good.h5")[0]
    result = run(folder, "e.h5", missing="reject", scores=folder / "s.tsv", console=console)[0]
    assert result["missing"] == {"images": 1, "pairs": 4}
    assert result["pairs"] == 160
    assert result["genuine"]["failed"] == result["impostor"]["failed"] == 2
    assert result["fmr100"]["fnmr"] >= whole["fmr100"]["fnmr"] + 2 / 80 - 1e-9
    assert result["accuracy"]["folds"][0]["accuracy"] <= 38 / 40
    assert (folder / "s.tsv").read_text().count("-inf") == 4
    assert any("their 4 pairs count as failed" in line for line in console.said)


def test_drop_leaves_missing_pairs_out_and_folds_where_they_are(folder):
    gone = {f"P{p}/P{p}_0001" for p in range(10)}  # all of fold 0
    drop_rows(folder / "good.h5", gone, folder / "e.h5")
    result = run(folder, "e.h5", missing="drop", scores=folder / "s.tsv")[0]
    assert result["pairs"] == 120
    assert result["missing"] == {"images": 10, "pairs": 40}
    assert [fold["fold"] for fold in result["accuracy"]["folds"]] == [1, 2, 3]
    lines = (folder / "s.tsv").read_text().splitlines()
    assert len(lines) == 161
    assert [line.endswith("\t") for line in lines[1:]] == [True] * 40 + [False] * 120


def test_dropping_different_pairs_is_remarked_on(folder):
    drop_rows(folder / "good.h5", {"P0/P0_0001"}, folder / "e.h5")
    console = Recorder()
    run(folder, "good.h5", "e.h5", missing="drop", console=console)
    assert any("scored on different pairs" in line for line in console.said)


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf])
def test_vectors_without_direction_are_missing_images(folder, broken):
    keys, vectors = draw_faces(1, 0.4)
    vectors[keys.index("P5/P5_0001")] = broken
    write(folder / "e.h5", keys, vectors)
    with pytest.raises(InputError, match=r"P5/P5_0001 \(its vector is zero or not finite\)"):
        run(folder, "e.h5")
    result = run(folder, "e.h5", missing="reject")[0]
    assert result["missing"] == {"images": 1, "pairs": 4}


@pytest.mark.parametrize(
    ("rename", "hint"),
    [
        (lambda key: f"lfw/{key}", "embed the folder 'lfw' itself"),
        (lambda key: key.partition("/")[2], "embed the folder that holds 'P0'"),
        (lambda key: f"{key}_surgical", "'P0/P0_0001', the file 'P0/P0_0001_surgical'"),
        (lambda key: f"x{key}", "'P0/P0_0001', the file 'xP0/P0_0001'"),
    ],
)
@pytest.mark.parametrize("missing", ["error", "reject", "drop"])
def test_names_that_never_meet_get_a_hint(folder, rename, hint, missing):
    keys, vectors = draw_faces(1, 0.4)
    write(folder / "e.h5", [rename(key) for key in keys], vectors)
    with pytest.raises(InputError) as caught:
        run(folder, "e.h5", missing=missing)
    assert "has none of the images" in str(caught.value)
    assert hint in str(caught.value)


def test_an_empty_embedding_file(folder):
    write(folder / "e.h5", [], np.zeros((0, DIM)))
    with pytest.raises(InputError, match="no embeddings at all"):
        run(folder, "e.h5")


def test_foreign_files_are_refused(folder):
    (folder / "e.h5").write_text("hello")
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        run(folder, "e.h5")
    with pytest.raises(InputError, match="no such file"):
        run(folder, "none.h5")


def test_one_kind_of_pair_gives_means_and_a_warning(folder):
    (folder / "pairs.txt").write_text("".join(f"P{p} 1 2\n" for p in range(PEOPLE)))
    console = Recorder()
    result = run(folder, console=console, json=True)[0]
    assert result["auc"] is None
    assert result["eer"] == {"rate": None, "threshold": None}
    assert result["impostor"]["mean"] is None
    assert result["genuine"]["mean"] > 0.5
    assert any("error rates need both kinds" in line for line in console.said)
    json.loads(console.lines[0], parse_constant=pytest.fail)  # no NaN, no Infinity


def test_existing_outputs_are_refused_before_any_work(folder):
    (folder / "s.tsv").write_text("precious")
    with pytest.raises(InputError, match=r"s.tsv: exists already; --force"):
        run(folder, "none.h5", scores=folder / "s.tsv")
    assert (folder / "s.tsv").read_text() == "precious"
    run(folder, scores=folder / "s.tsv", force=True)
    assert "precious" not in (folder / "s.tsv").read_text()
    assert not list(folder.glob(".*"))  # no temporary files left


def test_plots_and_report_are_written(folder):
    plots = tuple(folder / f"det.{kind}" for kind in ("png", "svg", "pdf"))
    run(folder, "good.h5", "poor.h5", plots=plots, report=folder / "r.html")
    assert plots[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in plots[1].read_bytes()
    assert plots[2].read_bytes().startswith(b"%PDF")
    page = (folder / "r.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert '<th scope="row">good</th>' in page
    assert "<svg role=" in page
    assert "<script" not in page
    assert "src=" not in page.replace('src="data:', "")


def test_names_in_the_report_are_escaped(folder):
    run(folder, report=folder / "r.html", names=("<b>&",))
    page = (folder / "r.html").read_text()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page


def test_the_report_shows_pictures(folder):
    (folder / "sheet.png").write_bytes(b"\x89PNG")
    run(folder, report=folder / "r.html", pictures=(folder / "sheet.png",))
    assert 'src="data:image/png;base64,iVBORw=="' in (folder / "r.html").read_text()
    with pytest.raises(InputError, match=r"none.png: unreadable"):
        run(folder, report=folder / "r.html", pictures=(folder / "none.png",), force=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"missing": "ignore"}, "--missing 'ignore'"),
        ({"far": (0.0,)}, "--far 0"),
        ({"far": (float("nan"),)}, "--far nan"),
        ({"plots": (Path("det.gif"),)}, "det.gif': expected a name ending in .png"),
        ({"plots": (Path("a.png"), Path("a.png"))}, "a.png: would be written over"),
        ({"scores": Path("pairs.txt")}, "pairs.txt: would be written over"),
        ({"scores_in": (Path("s.txt"),), "templates": Path("t.txt")}, "no embedding file"),
        ({"probes": (Path("a"), Path("b"), Path("c"))}, "--probes given 3 times for 1"),
        ({"crops": ("crops",)}, "are for the page of --report"),
    ],
)
def test_unusable_options_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        EvalOptions(pairs=Path("pairs.txt"), **change)


def test_probes_go_with_embeddings():
    assert [one_of([], place) for place in range(2)] == [None, None]
    assert [one_of(["c"], place) for place in range(2)] == ["c", "c"]
    assert [one_of(["c", "b"], place) for place in range(2)] == ["c", "b"]


def test_embeddings_that_nobody_named_have_a_usual_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="embeddings.h5: not here yet; mfrkit embed makes it"):
        _ = EvalOptions(Path("pairs.txt")).systems
    (tmp_path / "embeddings.h5").touch()
    assert EvalOptions(Path("pairs.txt")).systems == (Path("embeddings.h5"),)
    assert EvalOptions(scores_in=(Path("s.txt"),)).systems == ()


def test_labels_tell_systems_apart():
    def label(*systems):
        return distinct_labels(
            [(Path(p), Path(q) if q else None, {"model": m} if m else {}) for p, q, m in systems]
        )

    assert label(("x/a.h5", "", "arcface")) == ["arcface"]
    assert label(("x/a.h5", "", "")) == ["a"]
    assert label(("a.h5", "", "arcface"), ("b.h5", "", "meer")) == ["arcface", "meer"]
    assert label(("a.h5", "", "m"), ("b.h5", "", "m")) == ["a", "b"]
    assert label(("c.h5", "", "m"), ("c.h5", "k.h5", "m")) == ["c", "c vs k"]
    assert label(("x/a.h5", "", "m"), ("y/a.h5", "", "n"), ("a.h5", "", "n"))[0] == "x/a.h5"
    assert label(("a.h5", "", "m"), ("a.h5", "", "m")) == ["a #1", "a #2"]


@pytest.mark.parametrize("names", [("a",), ("a", "a"), ("a", " ")])
def test_bad_names_are_refused(folder, names):
    with pytest.raises(InputError, match="--names"):
        run(folder, "good.h5", "poor.h5", names=names)


def run_command(folder: Path, forbidden: set[str], *arguments: str):
    """Run the command line in a fresh interpreter and fail if it loaded a forbidden library."""
    code = (
        "import sys; from mfrkit.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: status = end.code\n"
        f"heavy = {forbidden!r} & set(sys.modules)\n"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(mfrkit.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_command_needs_no_torch_and_no_opencv(folder):
    forbidden = {"torch", "cv2", "matplotlib", "kornia", "scipy"}
    done = run_command(folder, forbidden, "eval", "pairs.txt", "good.h5", "--json")
    assert json.loads(done.stdout)["results"][0]["system"] == "arcface"


def test_the_command_reads_embeddings_h5_and_prints_tab_separated_values(folder):
    (folder / "good.h5").rename(folder / "embeddings.h5")
    done = run_command(folder, {"torch"}, "eval", "pairs.txt", "--far", "1e-1")
    header, line = (line.split("\t") for line in done.stdout.splitlines())
    assert header[:4] == ["system", "EER %", "TAR@1e-1 %", "FMR100 %"]
    assert line[0] == "arcface"
    assert dict(zip(header, line, strict=True))["pairs"] == "160"


def test_a_plot_needs_no_pyplot(folder):
    forbidden = {"torch", "matplotlib.pyplot"}
    run_command(folder, forbidden, "eval", "pairs.txt", "good.h5", "--plot", "d.png")
    assert (folder / "d.png").exists()


def test_the_table_as_markdown_and_latex(folder):
    run(folder, "good.h5", "poor.h5", table=folder / "t.md", names=("a_b", "c&d"))
    lines = (folder / "t.md").read_text().splitlines()
    assert lines[2].startswith(
        "| system | EER % | TAR@1e-2 % | TAR@1e-3 % | TAR@1e-4 % | FMR100 % |"
    )
    assert lines[4].startswith(r"| a\_b | 0.00 | 100.00\* | ")
    assert r"| a\_b | 160 | 160 | 0 | 0 | 0 | 0 | 0.00 | 0.00 |" in lines
    assert {line.count("|") for line in lines[2:6]} == {lines[2].count("|")}
    run(folder, "good.h5", "poor.h5", table=folder / "t.tex", names=("a_b", "c&d"))
    text = (folder / "t.tex").read_text()
    assert r"a\_b & 160 & 160 & 0 & " in text
    assert r"c\&d & 160" in text
    assert r"accuracy \%" in text
    with pytest.raises(InputError, match=r"t.doc': expected a name ending in .md or .tex"):
        run(folder, table=folder / "t.doc")


def test_scores_of_another_system_beside_embeddings(folder):
    run(folder, "poor.h5", scores=folder / "theirs.tsv")
    alone = run(folder, "poor.h5")[0]
    good, theirs = run(folder, "good.h5", scores_in=(folder / "theirs.tsv",))
    assert (good["system"], theirs["system"]) == ("good", "theirs")
    assert theirs["eer"] == alone["eer"]


def test_the_command_reads_scores_without_pairs_and_embeddings(folder):
    run(folder, scores=folder / "s.tsv")
    run_command(folder, {"torch", "cv2", "matplotlib"}, "eval", "--scores-in", "s.tsv")
