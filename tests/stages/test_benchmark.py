"""The benchmark: what it prepares, what it compares, and what it does not do twice."""

import json
from pathlib import Path

import pytest

from mfrkit.errors import InputError
from mfrkit.stages.benchmark import BenchmarkOptions
from mfrkit.stages.benchmark_sets import BenchmarkSets
from mfrkit.stages.demo import prepare
from mfrkit.stages.layouts import place


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The portraits' pair list, long enough for a threshold at a FMR of one half."""
    folder = tmp_path_factory.mktemp("benchmark")
    prepare(folder, force=False)
    return folder


ARGUMENTS = ("pairs.csv", "photos", "-o", "bench", "--model", "arcface", "--fmr", "0.5")


@pytest.fixture
def shell(mfr, bench):
    mfr.folder = bench
    return mfr


@pytest.fixture
def done(shell):
    if not (shell.folder / "bench" / "results.json").exists():
        shell("benchmark", *ARGUMENTS, check=0)
    return shell


def results(shell):
    return json.loads((shell.folder / "bench" / "results.json").read_text())["results"]


def test_three_conditions_of_every_model(done):
    found = results(done)
    assert [each["system"] for each in found] == [
        "arcface unmasked",
        "arcface probe masked",
        "arcface both masked",
    ]
    unmasked, probe, both = found
    assert unmasked["eer"]["rate"] <= probe["eer"]["rate"]
    assert unmasked["genuine"]["mean"] > probe["genuine"]["mean"]
    assert both["genuine"]["mean"] != probe["genuine"]["mean"]


def test_thresholds_are_set_unmasked_and_kept(done):
    unmasked, probe, both = (each["fixed_thresholds"][0] for each in results(done))
    assert unmasked["threshold"] == probe["threshold"] == both["threshold"]
    assert probe["set_on"] == "thresholds.json"
    groups = {(rates["by"], rates["group"]) for rates in probe["rates"]}
    assert ("coverage", "above") in groups
    assert any(by == "mask" for by, _ in groups)


def test_a_second_run_makes_nothing_anew(done):
    folder = done.folder / "bench"
    made = [*folder.rglob("*.h5"), *folder.rglob("*.png")]
    before = {path: path.stat().st_mtime_ns for path in made}
    run = done("benchmark", *ARGUMENTS, "--json", check=0)
    assert {path: path.stat().st_mtime_ns for path in made} == before
    assert json.loads(run.stdout)["results"] == results(done)
    assert (folder / "report.html").read_text().count("arcface both masked") >= 2


def test_another_seed_is_refused(done):
    run = done("benchmark", *ARGUMENTS, "--seed", "5", check=2)
    assert "seed=0, not 5" in run.stderr.decode()


def test_a_short_list_sets_no_threshold_and_says_so_in_the_table(done):
    run = done("benchmark", *ARGUMENTS[:-1], "1e-3", check=0)
    assert "not enough impostors" in run.stdout.decode()


def test_dry_run_makes_nothing(mfr, bench):
    run = mfr("benchmark", bench / "pairs.csv", bench / "photos", "--dry-run", check=0)
    assert "would benchmark arcface" in run.stderr.decode()
    assert not (mfr.folder / "benchmark").exists()


def test_a_verification_file_is_unpacked(mfr, bench):
    mfr("align", bench / "photos", "-o", "crops", check=0)
    mfr("pack-bin", bench / "pairs.csv", "crops", "-o", "agedb_30.bin", check=0)
    mfr("benchmark", "--layout", "agedb-30", ".", "-m", "arcface", "--fmr", "0.5", check=0)
    found = json.loads((mfr.folder / "benchmark" / "results.json").read_text())
    assert found["pairs"]["count"] == 10
    assert len(found["results"]) == 3


def test_real_masks_are_compared_as_they_are(mfr, bench):
    arguments = (bench / "pairs.csv", bench / "photos", "-m", "arcface", "--no-masks")
    mfr("benchmark", *arguments, "--fmr", "0.5", check=0)
    found = json.loads((mfr.folder / "benchmark" / "results.json").read_text())["results"]
    assert [each["system"] for each in found] == ["arcface"]
    assert not (mfr.folder / "benchmark" / "masked").exists()


def test_models_of_one_name_are_refused(mfr, bench):
    run = mfr("benchmark", bench / "pairs.csv", bench / "photos", "-m", "a/x.safetensors",
              "-m", "b/x.safetensors", check=2)  # fmt: skip
    assert "two models are called alike" in run.stderr.decode()


def test_pictures_must_be_named_once():
    with pytest.raises(InputError, match="which pictures"):
        place(None, Path("pairs.txt"), None, "mtcnn", masks=True)
    with pytest.raises(InputError, match="finds the pictures itself"):
        place("lfw", Path("lfw"), "photos", "mtcnn", masks=True)


def test_values_no_run_can_use_are_refused_at_once(tmp_path):
    sets = BenchmarkSets(tmp_path / "pairs.txt", "photos", tmp_path)
    with pytest.raises(InputError, match="--fmr"):
        BenchmarkOptions(sets, ("arcface",), fmr=(0.0,))
    with pytest.raises(InputError, match="no model"):
        BenchmarkOptions(sets, ())
