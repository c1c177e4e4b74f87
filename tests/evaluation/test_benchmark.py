"""The benchmark: what it prepares, remembers and compares, and what it does not do twice."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfrkit.errors import InputError
from mfrkit.evaluation.benchmark import BenchmarkFolder
from mfrkit.evaluation.benchmark_options import LAYOUTS, BenchmarkOptions
from mfrkit.io.images import read_image
from mfrkit.io.tables import read_covariates
from mfrkit.stages.demo import PHOTOS, prepare


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The portraits' pair list, long enough for a threshold at a FMR of one half."""
    folder = tmp_path_factory.mktemp("benchmark")
    prepare(folder, force=False)
    show_two_people(folder / "photos" / "joe_biden" / "joe_biden_0001.jpg")
    return folder


def show_two_people(path):
    """Put a smaller portrait of somebody else beside a portrait."""
    with Image.open(path) as portrait, Image.open(OTHER) as other:
        both = Image.new("RGB", (portrait.width + 220, portrait.height))
        both.paste(portrait, (0, 0))
        both.paste(other.resize((220, 220)), (portrait.width, 0))
    both.save(path, quality=95)


OTHER = PHOTOS / "eileen_collins" / "eileen_collins_0001.jpg"
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


def test_tables_for_a_paper_with_the_run_and_from_its_folder(done):
    done("benchmark", *ARGUMENTS, "--table", "t.tex", "--figures", "eer,tar@0.5", check=0)
    text = (done.folder / "t.tex").read_text()
    assert r"model & EER \% & TAR@5e-1 \% & EER \% & TAR@5e-1 \%" in text
    before = {path: path.stat().st_mtime_ns for path in (done.folder / "bench").rglob("*")}
    again = ("benchmark", "-o", "bench", "--figures", "eer,tar@0.5", "--table")
    done(*again, "again.tex", "--table", "t.md", check=0)
    assert (done.folder / "again.tex").read_text() == text
    assert "| model | unmasked EER % |" in (done.folder / "t.md").read_text()
    assert {path: path.stat().st_mtime_ns for path in (done.folder / "bench").rglob("*")} == before
    run = done("benchmark", "-o", "bench", check=2)
    assert "no pair list given; name one, or --table" in run.stderr.decode()
    run = done("benchmark", "-o", "bench", "--table", "t.tex", "--ci", "95", check=2)
    assert "hold no 95 % intervals" in run.stderr.decode()


def test_another_seed_is_refused(done):
    run = done("benchmark", *ARGUMENTS, "--seed", "5", check=2)
    assert "bench: was begun with --seed 0, not 5; name another folder" in run.stderr.decode()


def test_masks_are_drawn_on_photos_which_are_then_aligned(done):
    folder = done.folder / "bench"
    worn = read_covariates(folder / "masked" / "manifest.jsonl").rows
    several = 0
    for line in (folder / "masked" / "manifest.jsonl").read_text().splitlines():
        record = json.loads(line)
        photo = read_image(done.folder / "photos" / f"{record['key']}.jpg")
        drawn = read_image(folder / "masked_photos" / record["path"])
        assert drawn.shape == photo.shape
        align, faces = record["align"], record["mask"]["faces"]
        assert (align["detector"], align["fit"]) == ("yunet", "mesh")
        left, top, right, bottom = align["box"]
        kinds = [
            face["type"]
            for face in faces
            if left < face["points"][0][0] < right and top < face["points"][0][1] < bottom
        ]
        assert [worn[record["key"]]["mask"]] == kinds, "that of the face in the box alone"
        several += len(faces) > 1
    assert several == 1, "one of the photos shows two people"


def test_masks_on_crops_in_the_same_folder_cost_only_these(done):
    folder = done.folder / "bench"
    crops = (folder / "crops" / "manifest.jsonl").stat().st_mtime_ns
    before = (folder / "masked" / "run.json").read_bytes()
    done("benchmark", *ARGUMENTS, "--mask-on", "crops", check=0)
    assert (folder / "masked" / "run.json").read_bytes() == before
    assert results(done)[1]["probes"].endswith("arcface-masked_crops.h5")
    assert results(done)[1]["eer"]["rate"] <= 1
    record = json.loads((folder / "masked_crops" / "manifest.jsonl").read_text().split("\n")[0])
    assert "faces" not in record["mask"], "one face in its crop"
    assert (folder / "crops" / "manifest.jsonl").stat().st_mtime_ns >= crops
    done("benchmark", *ARGUMENTS, check=0)


def test_earlier_models_stay_in_the_tables(done):
    folder = done.folder / "more"
    shutil.copytree(done.folder / "bench", folder, dirs_exist_ok=True)
    pairs = done.folder / "the_same_pairs.csv"
    header, *rows = (done.folder / "pairs.csv").read_text().splitlines()
    pairs.write_text("\n".join([header, *reversed(rows)]))
    arguments = (pairs.name, *ARGUMENTS[1:3], "more", "--fmr", "0.5", "--model")
    done("benchmark", *arguments, "maskinv", check=0)
    found = json.loads((folder / "results.json").read_text())["results"]
    assert [each["system"].split()[0] for each in found] == ["arcface"] * 3 + ["maskinv"] * 3
    assert "arcface both masked" in (folder / "tables.md").read_text()
    (folder / "embeddings" / "arcface-masked.h5").unlink()
    run = done("benchmark", *arguments, "maskinv", check=0)
    assert "arcface: left out" in run.stderr.decode()
    assert "arcface" not in (folder / "tables.md").read_text()


def test_a_photo_without_a_face_fails_in_every_condition(mfr, bench):
    shutil.copytree(bench / "photos", mfr.folder / "photos")
    noise = np.random.default_rng(0).integers(0, 255, (120, 120, 3), np.uint8)
    Image.fromarray(noise).save(mfr.folder / "photos" / "noise.png")
    (mfr.folder / "pairs.csv").write_text((bench / "pairs.csv").read_text() + "noise,noise,1,0\n")
    mfr("benchmark", "pairs.csv", "photos", "-m", "arcface", "--fmr", "0.5", check=0)
    found = json.loads((mfr.folder / "benchmark" / "results.json").read_text())["results"]
    assert [each["enrolment"]["failed_references"] for each in found] == [1, 1, 1]
    assert [each["enrolment"]["failed_probes"] for each in found] == [1, 1, 1]


def test_the_old_alignment_can_be_asked_for(mfr, bench):
    mfr("benchmark", bench / "pairs.csv", bench / "photos", "-m", "arcface", "--fmr", "0.5",
        "--detector", "mtcnn", "--landmarks", "five", check=0)  # fmt: skip
    line = (mfr.folder / "benchmark" / "masked" / "manifest.jsonl").read_text().split("\n")[0]
    align = json.loads(line)["align"]
    assert (align["detector"], align["fit"]) == ("mtcnn", "five")


def test_a_short_list_sets_no_threshold_and_says_so_in_the_table(done):
    run = done("benchmark", *ARGUMENTS[:-1], "1e-3", check=0)
    assert "not enough impostors" in run.stdout.decode()


def test_dry_run_makes_nothing(mfr, bench):
    run = mfr("benchmark", bench / "pairs.csv", bench / "photos", "--dry-run", check=0)
    assert "would benchmark arcface" in run.stderr.decode()
    assert "masks = the default kinds, on photos" in run.stderr.decode()
    assert not (mfr.folder / "benchmark").exists()


def test_a_verification_file_is_unpacked(mfr, bench):
    mfr("align", bench / "photos", "-o", "crops", check=0)
    mfr("pack-bin", bench / "pairs.csv", "crops", "-o", "agedb_30.bin", check=0)
    arguments = ("benchmark", "--layout", "agedb-30", ".", "-m", "arcface", "--fmr", "0.5")
    run = mfr(*arguments, check=0)
    assert run.stderr.decode().count("masks are drawn on crops, not on photos") == 1
    assert not (mfr.folder / "benchmark" / "masked_photos").exists()
    found = json.loads((mfr.folder / "benchmark" / "results.json").read_text())
    assert found["pairs"]["count"] == 10
    assert len(found["results"]) == 3


def test_real_masks_are_compared_as_they_are(mfr, bench):
    arguments = (bench / "pairs.csv", bench / "photos", "-m", "arcface", "--no-masks")
    mfr("benchmark", *arguments, "--fmr", "0.5", check=0)
    found = json.loads((mfr.folder / "benchmark" / "results.json").read_text())["results"]
    assert [each["system"] for each in found] == ["arcface"]
    assert not (mfr.folder / "benchmark" / "masked").exists()


def test_a_wrong_path_does_not_bind_the_next_attempt(mfr, bench):
    (mfr.folder / "empty").mkdir()
    arguments = ("-m", "arcface", "--no-masks", "--fmr", "0.5")
    mfr("benchmark", bench / "pairs.csv", "empty", *arguments, check=2)
    mfr("benchmark", bench / "pairs.csv", bench / "photos", *arguments, check=0)


def test_a_model_for_something_else_is_refused_before_any_work(mfr, bench):
    run = mfr("benchmark", bench / "pairs.csv", bench / "photos", "-m", "region", check=2)
    assert "is for region, not recognition" in run.stderr.decode()
    assert not (mfr.folder / "benchmark" / "crops").exists()


def test_models_of_one_name_are_refused(mfr, bench):
    run = mfr("benchmark", bench / "pairs.csv", bench / "photos", "-m", "a/x.safetensors",
              "-m", "b/x.safetensors", check=2)  # fmt: skip
    assert "two models are called alike" in run.stderr.decode()


def options(**given):
    return BenchmarkOptions(Path("pairs.txt"), **{"images": "photos", **given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": None}, "which pictures"),
        ({"layout": "lfw"}, "finds the pictures itself"),
        ({"layout": "lwf", "images": None}, "--layout 'lwf': expected lfw, calfw"),
        ({"fmr": (0.0,)}, "--fmr 0: expected a share above 0"),
        ({"ci": 100.0}, "--ci 100: expected per cent"),
        ({"models": ()}, "no model"),
        ({"mask_on": "photo"}, "--mask-on 'photo': expected photos or crops"),
        ({"mask_on": "photos", "detector": "none"}, "--mask-on photos: the pictures are crops"),
        ({"detector": "retina"}, "--detector 'retina'"),
        ({"landmarks": "six"}, "--landmarks 'six'"),
        ({"types": "crown"}, "crown"),
        ({"figures": ("tar@2",)}, "--figures 'tar@2'"),
        ({"figures": ("far",)}, "--figures 'far'"),
        ({"figures": ("tar@",)}, "--figures 'tar@'"),
        ({"figures": ("fnmr@0.1",)}, "--figures 'fnmr@0.1'"),
        ({"tables": (Path("t.csv"),)}, "t.csv': expected a name ending in .md or .tex"),
    ],
)
def test_values_no_run_can_use_are_refused_at_once(given, message):
    with pytest.raises(InputError, match=message):
        options(**given)


BEGUN = {
    "pairs": "80 images, sha256 be0b",
    "images": "/lfw",
    "detector": "yunet",
    "landmarks": "mesh",
}
MASKS = {"types": None, "jitter": 1.0, "seed": 7}


@pytest.fixture
def begun_folder(tmp_path):
    begun = BenchmarkFolder(tmp_path / "bench", anew=False)
    begun.begin(BEGUN | MASKS)
    begun.add(["arcface", "mine"])
    return tmp_path / "bench"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 8}, "--seed 7, not 8"),
        ({"detector": "mtcnn"}, "--detector yunet, not mtcnn"),
        ({"landmarks": "five"}, "--landmarks mesh, not five"),
        ({"types": "cloth"}, "no --type, not --type cloth"),
        ({"images": "/other"}, "the pictures in /lfw, not those in /other"),
        ({"pairs": "6 images, sha256 0a"}, "another pair list (its 80 images"),
    ],
)
def test_other_options_are_refused_in_the_words_of_the_command_line(begun_folder, changed, words):
    before = (begun_folder / "benchmark.json").read_bytes()
    with pytest.raises(InputError) as caught:
        BenchmarkFolder(begun_folder, anew=False).begin(BEGUN | MASKS | changed)
    assert f"{begun_folder}: was begun with {words}" in str(caught.value)
    assert "--output" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (begun_folder / "benchmark.json").read_bytes() == before


def test_what_was_given_and_no_longer_is_is_refused_too(tmp_path):
    BenchmarkFolder(tmp_path, anew=False).begin({"types": "cloth"})
    with pytest.raises(InputError, match="begun with --type cloth, not without --type;"):
        BenchmarkFolder(tmp_path, anew=False).begin({"types": None})


def test_masks_may_come_later(tmp_path):
    BenchmarkFolder(tmp_path, anew=False).begin(BEGUN)
    BenchmarkFolder(tmp_path, anew=False).begin(BEGUN | MASKS)
    with pytest.raises(InputError, match="--seed 7, not 0"):
        BenchmarkFolder(tmp_path, anew=False).begin(BEGUN | MASKS | {"seed": 0})


def test_models_stay_in_the_order_they_came(begun_folder):
    again = BenchmarkFolder(begun_folder, anew=False)
    again.begin(BEGUN)
    assert again.add(["other", "arcface"]) == ["arcface", "mine", "other"]


def test_beginning_anew_forgets_options_models_and_embeddings(begun_folder):
    (begun_folder / "embeddings").mkdir()
    (begun_folder / "embeddings" / "mine-crops.h5").touch()
    anew = BenchmarkFolder(begun_folder, anew=True)
    anew.begin(BEGUN | MASKS | {"seed": 8})
    assert anew.add(["arcface"]) == ["arcface"]
    assert not list((begun_folder / "embeddings").iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "[" * 100_000, '{"options": 3}', '{"models": "arcface"}',
        '{"options": {}, "models": [1]}', '{"options": {}, "models": ["../other"]}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(InputError, match=r"benchmark\.json: "):
        BenchmarkFolder(tmp_path, anew=False)


def test_models_whose_names_are_no_text_are_kept(tmp_path):
    begun = BenchmarkFolder(tmp_path, anew=False)
    begun.begin({"images": "/lfw-\udcff"})
    begun.add(["mine-\udcff"])
    assert BenchmarkFolder(tmp_path, anew=False).models == ["mine-\udcff"]


def layout(name, folder):
    return BenchmarkOptions(folder, layout=name).located()


def test_the_usual_names_are_found(tmp_path):
    (tmp_path / "pairs.txt").touch()
    (tmp_path / "lfw-deepfunneled").mkdir()
    found = layout("lfw", tmp_path)
    assert found.pairs == tmp_path / "pairs.txt"
    assert (found.images, found.detector) == (str(tmp_path / "lfw-deepfunneled"), "yunet")
    assert found.masks


def test_real_masks_are_not_masked_again(tmp_path):
    (tmp_path / "pairs.txt").touch()
    found = layout("mfr2", tmp_path)
    assert not found.masks
    assert Path(found.images) == tmp_path, "the people's folders lie beside the list"


def test_pictures_that_are_aligned_already_are_not_searched_for_faces(tmp_path):
    (tmp_path / "cfp_fp.bin").touch()
    assert layout("cfp-fp", tmp_path).detector == "none"


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_says_where_the_files_go(tmp_path, name):
    with pytest.raises(InputError) as caught:
        layout(name, tmp_path)
    text = str(caught.value)
    assert str(tmp_path / LAYOUTS[name].pairs[0]) in text
    assert "\n" not in text
