"""Identification and all-pairs comparison from files: figures, failures, own photos, outputs."""

import io
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation import all_pairs as pair_counts
from mfrkit.evaluation import identify as searching
from mfrkit.evaluation.all_pairs import all_pairs
from mfrkit.evaluation.identify import identify
from mfrkit.evaluation.options import EvalOptions, IdentifyOptions
from mfrkit.io.checkpoints import save_model
from mfrkit.io.embeddings import Rows, write_embeddings
from mfrkit.metrics import all_pairs as counting
from mfrkit.metrics.rates import roc
from mfrkit.models.cards import ModelCard

DIM = 8


def write(path: Path, faces: dict, skipped=(), norms=1.0) -> Path:
    count = len(faces)
    rows = Rows(
        embeddings=np.array(list(faces.values()), np.float32).reshape(count, -1),
        keys=list(faces),
        identities=[""] * count,
        norms=np.full(count, norms, np.float32),
        masked=np.zeros(count, np.int8),
        mask_type=[""] * count,
        positions=np.arange(count),
        skipped_keys=list(skipped),
        skipped_reasons=["no face found"] * len(skipped),
        skipped_positions=np.arange(len(skipped)) + count,
    )
    write_embeddings(path, [rows], rows.embeddings.shape[1], {"model": "arcface"})
    return path


def draw(people, photos, seed=0, noise=0.5) -> dict:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(people, DIM))
    return {
        f"P{p}/P{p}_{n}": centres[p] + noise * random.normal(size=DIM)
        for p in range(people)
        for n in photos
    }


@pytest.fixture
def files(tmp_path):
    """Eight people with two photos each; two more photos of them and of four strangers."""
    gallery = write(tmp_path / "gallery.h5", draw(8, (1, 2)))
    return gallery, write(tmp_path / "probes.h5", draw(12, (3, 4), seed=1))


def run(capsys, gallery, probes, **options):
    identify(IdentifyOptions(gallery, probes, json=True, **options), Console())
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


@pytest.mark.parametrize("block", [1, 2**24])
@pytest.mark.parametrize("pool", ["mean", "norm", "none"])
def test_figures_are_those_of_plain_loops(files, capsys, monkeypatch, pool, block):
    monkeypatch.setattr(searching, "_SCORES_AT_ONCE", block)
    found, _ = run(capsys, *files, pool=pool, fpir=(0.5,))
    known, searched = draw(8, (1, 2)), draw(12, (3, 4), seed=1)
    unit = {key: v / np.linalg.norm(v) for key, v in (known | searched).items()}
    scores = np.empty((24, 8))
    for row, key in enumerate(searched):
        for p in range(8):
            photos = [unit[f"P{p}/P{p}_{n}"] for n in (1, 2)]
            mean = sum(photos) / np.linalg.norm(sum(photos))
            scores[row, p] = max(v @ unit[key] for v in ([mean] if pool != "none" else photos))
    mate = scores[np.arange(16), np.arange(16) // 2]
    rank = (scores[:16] >= mate[:, None]).sum(axis=1)
    assert (found["people"], found["mated"], found["non_mated"]) == (8, 16, 8)
    assert found["cmc"] == pytest.approx([np.mean(rank <= k) for k in range(1, 9)])
    point = found["open_set"][0]
    assert point["fpir"] == np.mean(scores[16:].max(axis=1) >= point["threshold"] - 1e-6) == 0.5
    assert point["fnir"] == np.mean(mate < point["threshold"] - 1e-6)


def test_probes_and_people_without_embedding_count(tmp_path, capsys):
    gallery = write(tmp_path / "g.h5", draw(3, (1,), noise=0), skipped=["Q/Q_1"])
    probes = draw(2, (2,), noise=0) | {"P2/P2_2": np.zeros(DIM), "Q/Q_2": np.ones(DIM)}
    probes = write(tmp_path / "p.h5", probes, skipped=["P0/P0_9", "S/S_1"])
    found, said = run(capsys, gallery, probes)
    assert (found["people"], found["mated"], found["non_mated"]) == (4, 5, 1)
    assert (found["failed_probes"], found["unusable_gallery"]) == (3, 1)
    assert found["cmc"] == [0.4] * 4
    assert "have no usable embedding" in said


def test_a_face_is_searched_without_its_own_photo(tmp_path, capsys):
    one, other, third = np.eye(DIM)[:3]
    faces = {"A/1": one, "A/2": other, "B/1": one + 0.1 * other, "B/2": third}
    gallery = write(tmp_path / "all.h5", faces)
    for pool in ("mean", "none"):
        found, said = run(capsys, gallery, gallery, pool=pool)
        assert (found["own_photos"], found["mated"]) == (4, 4)
        assert found["cmc"] == [0.0, 1.0]  # each is nearer to the other person, or as near
        assert "without its own photo" in said


def test_candidate_lists(files, tmp_path, capsys):
    gallery, probes = files
    output = tmp_path / "hits.jsonl"
    options = IdentifyOptions(gallery, probes, top=3, output=output)
    identify(options, Console(-1))
    assert "rank-1 %" in capsys.readouterr().out
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["probe"] for record in records] == list(draw(12, (3, 4)))
    for record in records:
        scores = [candidate["score"] for candidate in record["candidates"]]
        names = [candidate["identity"] for candidate in record["candidates"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        if record["rank"] is not None and record["rank"] <= 3:
            assert names[record["rank"] - 1] == record["identity"]
    with pytest.raises(InputError, match="exists"):
        identify(options, Console(-1))
    identify(IdentifyOptions(gallery, probes, top=3), Console(-1))
    assert capsys.readouterr().out == output.read_text()


@pytest.mark.parametrize(
    "options",
    [{"pool": "max"}, {"fpir": (0.0,)}, {"ranks": (0,)}, {"top": 2, "json": True}],
)
def test_options_nobody_can_use(options):
    with pytest.raises(InputError):
        IdentifyOptions(Path("a.h5"), Path("b.h5"), **options)


def test_files_nobody_can_use(files, tmp_path):
    gallery, probes = files
    flat = write(tmp_path / "flat.h5", {"a": np.ones(DIM)})
    with pytest.raises(InputError, match="folder of their own"):
        identify(IdentifyOptions(flat, probes), Console(-1))
    other = write(tmp_path / "other.h5", {"A/a": np.ones(3)})
    with pytest.raises(InputError, match="3 values"):
        identify(IdentifyOptions(gallery, other), Console(-1))
    normless = write(tmp_path / "n.h5", draw(2, (1,)), norms=np.nan)
    with pytest.raises(InputError, match="--pool mean"):
        identify(IdentifyOptions(normless, probes, pool="norm"), Console(-1))


def of_all_pairs(first, *others, **options):
    return EvalOptions(first, others, all_pairs=True, **options)


@pytest.mark.parametrize("within", [True, False])
def test_all_pairs_agree_with_the_scores(files, monkeypatch, capsys, within):
    monkeypatch.setattr(counting, "TILE", 4)
    monkeypatch.setattr(pair_counts, "TILE", 4)
    monkeypatch.setattr(pair_counts, "STRIPE", 8)
    monkeypatch.setattr(pair_counts, "_threads", lambda: 2)
    chosen = files[1:] if within else files
    figures = all_pairs(of_all_pairs(*chosen, far=(0.1,), json=True), Console(-1))
    a, b = draw(8, (1, 2)), draw(12, (3, 4), seed=1)
    a = b if within else a
    A, B = (np.array([v / np.linalg.norm(v) for v in faces.values()]) for faces in (a, b))
    same = np.array([[p.split("/")[0] == q.split("/")[0] for q in b] for p in a])
    counted = np.triu(np.ones_like(same), 1) if within else np.ones_like(same)
    curve = roc((A @ B.T)[counted], same[counted])
    assert (figures.genuine.count, figures.impostor.count) == (curve.genuine, curve.impostor)
    assert figures.genuine.mean == pytest.approx((A @ B.T)[counted & same].mean(), abs=1e-4)
    place = np.searchsorted(-curve.thresholds, -figures.tar[0].threshold + 1e-6) - 1
    assert figures.tar[0].far == curve.fmr[place]
    assert figures.tar[0].tar == curve.tar[place]
    assert json.loads(capsys.readouterr().out)["tar"][0]["far"] == figures.tar[0].far


def test_versions_of_one_photo_are_not_compared(tmp_path, capsys):
    clean = write(tmp_path / "clean.h5", draw(3, (1, 2)))
    masked = {f"{key}{v}": face for key, face in draw(3, (1, 2)).items() for v in ("", ".mask2")}
    masked = write(tmp_path / "masked.h5", masked)
    figures = all_pairs(of_all_pairs(clean, masked), Console())
    assert (figures.genuine.count, figures.impostor.count) == (12, 48)
    assert "12 pairs show one photo twice" in capsys.readouterr().err
    assert all_pairs(of_all_pairs(masked), Console(-1)).genuine.count == 3 * 4


def test_inputs_without_embedding_in_all_pairs(tmp_path):
    faces = draw(3, (1, 2)) | {"P0/P0_3": np.full(DIM, np.nan)}
    path = write(tmp_path / "a.h5", faces, skipped=["P1/P1_3"])
    with pytest.raises(InputError, match="2 of 8 inputs"):
        all_pairs(of_all_pairs(path), Console(-1))
    dropped = all_pairs(of_all_pairs(path, missing="drop"), Console(-1))
    assert (dropped.genuine.count, dropped.genuine.failed) == (3, 0)
    rejected = all_pairs(of_all_pairs(path, missing="reject"), Console(-1))
    assert (rejected.genuine.count, rejected.genuine.failed) == (7, 4)
    assert (rejected.impostor.count, rejected.impostor.failed) == (21, 9)


def test_all_pairs_need_two_people_and_two_photos(tmp_path):
    with pytest.raises(InputError, match="no person has two"):
        all_pairs(of_all_pairs(write(tmp_path / "a.h5", draw(3, (1,)))), Console(-1))
    with pytest.raises(InputError, match="only one person"):
        all_pairs(of_all_pairs(write(tmp_path / "b.h5", draw(1, (1, 2)))), Console(-1))
    with pytest.raises(InputError, match="got 3"):
        of_all_pairs(Path("a"), Path("b"), Path("c"))
    with pytest.raises(InputError, match="named twice"):
        of_all_pairs(Path("a"), Path("a"))


def test_the_commands(files, mfr):
    gallery, probes = files
    table = mfr("identify", gallery, probes, check=0).stdout.decode().splitlines()
    assert table[0].split("\t")[:3] == ["people", "mated", "non-mated"]
    assert table[1].split("\t")[:3] == ["8", "16", "8"]
    table = mfr("eval", "--all-pairs", gallery, probes, check=0).stdout.decode()
    assert "TAR@1e-6 %" in table
    refused = mfr("eval", "--all-pairs", gallery, "--plot", "a.png", check=2)
    assert refused.stderr.decode() == "mfrkit: --plot cannot be used with --all-pairs\n"


def test_the_curve_and_the_page(files, tmp_path, capsys):
    gallery, probes = files
    plot, page = tmp_path / "cmc.svg", tmp_path / "page.html"
    identify(IdentifyOptions(gallery, probes, plots=(plot,), report=page), Console(-1))
    printed = capsys.readouterr().out.splitlines()[1].split("\t")
    text = page.read_text()
    assert "Cumulative match characteristic" in text
    assert "Cumulative match characteristic" in plot.read_text()
    for cell in printed:
        assert f">{cell}" in text, "the page says what the table says"
    assert "FPIR" in text
    with pytest.raises(InputError, match="exists"):
        identify(IdentifyOptions(gallery, probes, report=page), Console(-1))
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        IdentifyOptions(gallery, probes, plots=(tmp_path / "cmc.gif",))
    with pytest.raises(InputError, match="written over"):
        IdentifyOptions(gallery, probes, report=gallery)


@pytest.fixture
def classes(tmp_path):
    """A model file with a classifier of the first six people, and the probes of ten."""
    weight = np.random.default_rng(99).normal(size=(10, DIM))[:6]  # the centres of `draw`
    weight *= 9 / np.linalg.norm(weight, axis=1, keepdims=True)
    people = [f"P{p}" for p in range(6)]
    card = ModelCard(
        name="g", task="recognition", architecture="generative", arguments={"people": people}
    )
    path = tmp_path / "g.safetensors"
    tensors = {"classifier.weight": torch.tensor(weight), "classifier.bias": torch.zeros(6)}
    save_model(path, tensors, card.to_json())
    return path, write(tmp_path / "probes.h5", draw(10, (3, 4), noise=0.2), ["P1/P1_9"])


def test_a_classifier_ranks_the_people_it_knows(classes, capsys, tmp_path):
    model, probes = classes
    result, _ = run(capsys, model, probes, classifier=True)
    assert (result["people"], result["mated"], result["non_mated"]) == (6, 13, 8)
    assert (result["failed_probes"], result["own_photos"]) == (1, 0)
    assert result["cmc"][0] == pytest.approx(12 / 13)  # all but the one without embedding
    assert (result["pool"], result["classifier"]) == (None, True)
    lists = tmp_path / "hits.jsonl"
    identify(IdentifyOptions(model, probes, classifier=True, top=6, output=lists), Console(-1))
    first = json.loads(lists.read_text().splitlines()[0])
    assert first["candidates"][0]["identity"] == "P0"
    shares = np.exp([each["score"] for each in first["candidates"]])
    assert shares.sum() == pytest.approx(1, abs=1e-4)


def test_a_classifier_wants_its_own_models_embeddings(classes, tmp_path):
    model, probes = classes
    with h5py.File(probes, "r+") as file:
        file.attrs["weights_sha256"] = "0" * 64
    with pytest.raises(InputError, match="not those of the classifier's model"):
        identify(IdentifyOptions(model, probes, classifier=True), Console(-1))
    with pytest.raises(InputError, match="--pool is about a gallery's photos"):
        IdentifyOptions(model, probes, classifier=True, pool="norm")


def test_thresholds_of_eval_are_tried_as_they_are(files, tmp_path, capsys):
    gallery, probes = files
    counts = {"genuine": 9, "impostor": 99, "false_non_matches": 1, "false_matches": 1}
    made = {"model": "arcface", "weights_sha256": None, "flip": None}
    held = [
        made | {"target_fmr": fmr, "threshold": value, "achieved": counts}
        for fmr, value in ((1e-1, 0.3), (1e-2, 0.6))
    ]
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"schema": 1, "thresholds": held}))
    found, _ = run(capsys, gallery, probes, thresholds=path, fpir=(0.5,))
    low, high = found["fixed_thresholds"]
    assert (low["fmr"], high["fmr"]) == (0.1, 0.01)
    assert low["fpir"] >= high["fpir"]
    assert low["fnir"] <= high["fnir"]
    at = found["open_set"][0]
    held[0]["threshold"] = at["threshold"]
    path.write_text(json.dumps({"schema": 1, "thresholds": held}))
    again, _ = run(capsys, gallery, probes, thresholds=path, fpir=(0.5,))
    same = again["fixed_thresholds"][0]
    assert {k: same[k] for k in ("fpir", "fnir", "dir")} == {
        k: at[k] for k in ("fpir", "fnir", "dir")
    }
    identify(IdentifyOptions(gallery, probes, thresholds=path), Console())
    assert "FPIR at FMR 1e-2 %" in capsys.readouterr().out
    with pytest.raises(InputError, match="classifier"):
        IdentifyOptions(gallery, probes, thresholds=path, classifier=True)


def test_a_folder_is_told_which_command_takes_it(files, tmp_path):
    with pytest.raises(InputError, match="mfrkit search"):
        IdentifyOptions(files[0], tmp_path)


def test_only_strangers_have_no_rank(files, tmp_path, capsys):
    strangers = write(tmp_path / "s.h5", {f"S{n}/1": v for n, v in enumerate(np.eye(DIM))})
    identify(IdentifyOptions(files[0], strangers, top=1), Console())
    said = capsys.readouterr().err
    assert "nan" not in said
    assert "mfrkit search" in said
    page = tmp_path / "page.html"
    identify(IdentifyOptions(files[0], strangers, report=page), Console(-1))
    assert page.read_text().count("<td>n/a: no mated search</td>") == 9  # 3 ranks, 3 FNIR, 3 DIR
    assert "<td>n/a</td>" not in page.read_text()


def test_no_bar_runs_through_lists_on_a_terminal(files, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    both = Terminal()
    monkeypatch.setattr(sys, "stdout", both)
    monkeypatch.setattr(sys, "stderr", both)
    identify(IdentifyOptions(*files, top=1), Console())
    shown = both.getvalue()
    assert "img/s" not in shown
    assert shown.count('{"probe"') == 24
