"""The shell examples run as they stand."""

import importlib
import json
import random
import runpy
import sys
from pathlib import Path

import pytest

from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.images import read_image
from mfrkit.io.pairs import read_pairs
from mfrkit.io.source import open_source

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_quickstart(mfr):
    run = mfr.line(f"{EXAMPLES}/quickstart.sh")
    assert run.returncode == 0, run.stderr.decode()
    lines = run.stdout.decode().splitlines()
    assert len(lines) == 4  # two tables of one header and one system
    assert lines[0] == lines[2]
    assert "EER" in lines[0]


def test_pipeline(mfr, photos):
    run = mfr.line(f"{EXAMPLES}/pipeline.sh {photos} out")
    assert run.returncode == 0, run.stderr.decode()
    counts = dict(line.split("\t")[::-1] for line in run.stdout.decode().splitlines())
    assert set(counts) <= {"surgical", "n95", "cloth"}
    assert sum(map(int, counts.values())) == 5
    for name in ("clean.h5", "masked.h5"):
        with EmbeddingReader(mfr.folder / "out" / name) as reader:
            assert reader.count == 5


def test_shards(mfr, worked):
    run = mfr.line(f"{EXAMPLES}/shards.sh {worked.folder}/crops all.h5 2")
    assert run.returncode == 0, run.stderr.decode()
    with (
        EmbeddingReader(mfr.folder / "all.h5") as merged,
        EmbeddingReader(worked.folder / "embeddings.h5") as whole,
    ):
        assert list(merged.each_key()) == list(whole.each_key())
    assert sorted(path.name for path in mfr.folder.glob("*.h5")) == ["all.h5"]


MEASURE = ("bench_*.py", "measure_*.py", "wrong_labels.py", "accuracy_against_cost.py")


@pytest.mark.parametrize(
    "script", sorted(path for name in MEASURE for path in EXAMPLES.glob(name)), ids=lambda p: p.name
)
def test_benchmarks_say_what_they_need(script, monkeypatch, capsys):
    """The scripts that measure are run by hand; here only their help must work."""
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    assert not left.value.code
    assert "usage" in capsys.readouterr().out.lower()


def test_the_mask_benchmark_times_and_shows(mfr, worked):
    run = mfr.line(
        f"{sys.executable} {EXAMPLES}/bench_masks.py {worked.folder}/crops"
        " --count 2 --processes 1 --sheet sheet.png"
    )
    assert run.returncode == 0, run.stderr.decode()
    report = run.stdout.decode()
    for row in ("mfrkit renderer", "six-point paste", "decode", "draw", "encode", "JPEG to JPEG"):
        assert f"\n{row} " in report
    assert read_image(mfr.folder / "sheet.png").shape[1] > 2 * 112


def test_turned_portraits_are_masked(mfr):
    run = mfr.line(f"{sys.executable} {EXAMPLES}/turned_faces.py turned.jpg")
    assert run.returncode == 0, run.stderr.decode()
    height, width, _ = read_image(mfr.folder / "turned.jpg").shape
    assert width > height > 3 * 160  # three portraits from four sides


def test_records_of_a_pipeline_are_json(mfr, worked):
    run = mfr("embed", worked.folder / "crops", "-o", "e.h5", check=0)
    statuses = [json.loads(line)["status"] for line in run.stdout.splitlines()]
    assert statuses == ["ok"] * 5 + ["end"]


def test_pair_lists_of_really_masked_people(mfr):
    """Held-out people alone, as many pairs of two people as of one, the same for one seed."""
    people = [f"p{number:02}" for number in range(30)]
    rows = [
        f"{name}/{photo},{int(photo > 'a')},{int(photo == 'a')}"
        for name in reversed(people)
        for photo in "abcd"
    ]
    (mfr.folder / "table.csv").write_text("\n".join(["key,masked,portrait", *rows]))
    script = f"{sys.executable} {EXAMPLES}/real_pairs.py table.csv --most 2"
    for output, seed in (("one", 1), ("again", 1), ("two", 2)):
        run = mfr.line(f"{script} -o {output} --seed {seed}")
        assert run.returncode == 0, run.stderr.decode()
    for kind, firsts in (("portrait", "a"), ("masked", "bcd")):
        one, again, two = (
            (mfr.folder / f"{output}-{kind}.csv").read_text() for output in ("one", "again", "two")
        )
        assert one == again != two
        pairs = read_pairs(mfr.folder / f"one-{kind}.csv")
        assert [pairs.same.sum(), len(pairs)] == [12, 24], "two of each of six people, and as many"
        assert {key.split("/")[0] for key in pairs.a + pairs.b} == set(people[4::5])
        assert {key.split("/")[1] for key in pairs.a} <= set(firsts)
        assert {key.split("/")[1] for key in pairs.b} <= set("bcd")
        assert len({frozenset(pair) for pair in zip(pairs.a, pairs.b, strict=True)}) == 24
        same = [a.split("/")[0] == b.split("/")[0] for a, b in zip(pairs.a, pairs.b, strict=True)]
        assert same == pairs.same.tolist()
    run = mfr.line(f"{script} --every 15 --most 40")
    assert run.returncode == 1
    assert "too few people" in run.stderr.decode()


def test_old_and_new_alignment_side_by_side(mfr):
    mfr("demo", "-o", "demo", check=0)
    arguments = "demo/pairs.csv demo/photos out --seed 2 -m arcface --fmr 0.5"
    run = mfr.line(f"{EXAMPLES}/old_and_new_alignment.sh {arguments}")
    assert run.returncode == 0, run.stderr.decode()
    rows = [line.split("\t")[0] for line in run.stdout.decode().splitlines()]
    for sets in ("crops crops", "crops masked", "masked masked"):
        assert f"arcface {sets} old" in rows
        assert f"arcface {sets} new" in rows
    aligned = (mfr.folder / "out" / "old" / "masked" / "manifest.jsonl").read_text()
    assert aligned.count('"fit": "five"') == 5
    usage = mfr.line(f"{EXAMPLES}/old_and_new_alignment.sh pairs.txt")
    assert usage.returncode == 2
    assert "PAIRS PHOTOS FOLDER" in usage.stderr.decode()


@pytest.fixture
def script(monkeypatch):
    """Import a script as its neighbours do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_wrong_names_are_planted_on_masked_photos_alone(script, noise_crops):
    plant = script("wrong_labels").plant
    items = list(open_source(str(noise_crops)))
    masked = {item.record.key for item in items if not item.record.key.endswith("_0")}
    records, count = plant(items, masked, 0.34, random.Random(1))
    changed = [
        record.key
        for record, item in zip(records, items, strict=True)
        if record.identity != item.record.identity
    ]
    assert len(changed) == count == 3
    assert set(changed) <= masked
    again, _ = plant(items, masked, 0.34, random.Random(1))
    assert [record.identity for record in again] == [record.identity for record in records]


def test_rates_are_read_by_state_and_model(script, tmp_path):
    read_rates = script("accuracy_against_cost").read_rates
    results = [
        {"system": name, "eer": {"rate": rate}}
        for name, rate in (("a unmasked", 0.01), ("b both masked", 0.02), ("c", 0.5))
    ]
    (tmp_path / "results.json").write_text(json.dumps({"results": results}))
    assert read_rates(tmp_path, "eer") == {
        "unmasked": {"a": 1.0},
        "both masked": {"b": 2.0},
        tmp_path.name: {"c": 50.0},
    }


def test_regions_are_measured_on_drawn_and_on_worn_masks(script, worked, monkeypatch, capsys):
    crops = worked.folder / "crops"
    table = worked.folder / "worn.csv"
    keys = [item.record.key for item in open_source(str(crops))]
    rows = [f"{key},{int(key.startswith('joe'))}" for key in keys]
    table.write_text("\n".join(["key,masked", *rows]))
    measure = script("measure_region").main
    for more, wanted in (
        (["--count", "1"], "| surgical | trained on"),
        (["--worn", str(table)], "| bare |"),
    ):
        monkeypatch.setattr(sys, "argv", ["measure_region.py", str(crops), *more])
        measure()
        assert wanted in capsys.readouterr().out
