"""`mfrkit verify` in a process of its own."""

import json
from dataclasses import replace

import cv2
import pytest

from mfrkit.models.model_files import read_tensors, write_model
from mfrkit.models.thresholds import STATES, Operating


@pytest.fixture
def obama(photos):
    return [photos / "barack_obama" / f"barack_obama_000{n}.jpg" for n in (1, 2)]


@pytest.fixture
def biden(photos):
    return photos / "joe_biden" / "joe_biden_0001.jpg"


def lines(run):
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_one_record_a_pair_and_a_picture(mfr, obama, biden, tmp_path):
    run = mfr("verify", *obama, biden, "--threshold", "0.4", "--preview", "p.png", check=0)
    same, other = lines(run)
    assert (same["same"], other["same"]) == (True, False)
    assert same["similarity"] > 0.6 > 0.3 > other["similarity"]
    assert same["masked"] == [False, False]
    assert same["photo_b"] == str(obama[1])
    picture = cv2.imread(str(tmp_path / "p.png"))
    assert picture.shape[0] > 2 * 168
    assert picture.shape[1] > 4 * 168
    mfr("verify", *obama, "--preview", "p.png", check=2)


def test_the_exit_code_answers_if_asked_to(mfr, obama, biden):
    mfr("verify", obama[0], biden, "--threshold", "0.4", check=0)
    mfr("verify", obama[0], biden, "--threshold", "0.4", "--exit-code", check=1)
    mfr("verify", *obama, "--threshold", "0.4", "--exit-code", check=0)


def test_json_is_one_object_with_a_photo_without_a_face_in_it(mfr, obama, noise_crops):
    blank = noise_crops / "p0" / "p0_0.png"
    run = mfr("verify", *obama, blank, "--threshold", "0.4", "--json", check=0)
    found = json.loads(run.stdout)
    assert found["model"] == "mfr"
    assert [pair["same"] for pair in found["pairs"]] == [True, None]
    assert found["pairs"][1]["reason"] == "no face found"
    assert b"no face found" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["A"], "name at least two"),
        (["A", "missing.jpg"], "missing.jpg: no such file"),
        (["A", "."], "mfrkit search"),
        (["A", "B", "--fmr", "2"], "FMR 2"),
        (["A", "B", "--threshold", "high"], "neither a number nor a file"),
        (["A", "B", "--preview", "p.gif"], "p.gif"),
        (["A", "B", "--model", "nobody"], "nobody"),
    ],
)
def test_bad_input_is_one_clear_line(mfr, obama, arguments, said):
    names = dict(zip("AB", obama, strict=True))
    run = mfr("verify", *(names.get(a, a) for a in arguments), check=2)
    assert said in run.stderr.decode()
    assert len(run.stderr.splitlines()) == 1


def test_nothing_compared_is_a_failure(mfr, obama, noise_crops):
    mfr("verify", obama[0], noise_crops / "p0" / "p0_0.png", check=3)
    mfr("verify", noise_crops / "p0" / "p0_0.png", obama[0], check=2)


def test_all_faces(mfr, obama, tmp_path):
    pictures = [cv2.resize(cv2.imread(str(photo)), (480, 640)) for photo in obama]
    cv2.imwrite(str(tmp_path / "two.png"), cv2.hconcat(pictures))
    main = mfr("verify", obama[0], "two.png", "--threshold", "0.4", check=0)
    assert b"2 faces" in main.stderr
    assert len(lines(main)) == 1
    each = lines(mfr("verify", obama[0], "two.png", "--threshold", "0.4", "--all-faces", check=0))
    assert [record["compared"] for record in each] == [[1, 1], [1, 2]]
    assert all(record["same"] for record in each)


def test_a_threshold_file_of_eval_is_taken(mfr, obama, worked):
    made = worked.folder
    pairs = made / "verify_pairs.txt"
    pairs.write_text(
        "barack_obama/barack_obama_0001 barack_obama/barack_obama_0002 1\n"
        "barack_obama/barack_obama_0001 joe_biden/joe_biden_0001 0\n"
        "eileen_collins/eileen_collins_0001 joe_biden/joe_biden_0001 0\n"
    )
    file = made / "verify_t.json"
    arguments = ["--fmr", "0.5", "--threshold-out", file, "-f"]
    worked("eval", pairs, made / "embeddings.h5", *arguments, check=0)
    (record,) = lines(mfr("verify", *obama, "--threshold", file, "--fmr", "0.5", check=0))
    assert record["same"] is True
    assert record["fmr"] == 0.5
    refused = mfr("verify", *obama, "--threshold", file, "--fmr", "0.1", check=2)
    assert b"only at 0.5" in refused.stderr


def test_the_card_decides_by_who_wears_a_mask(mfr, obama, worked, tmp_path):
    card, tensors = read_tensors("arcface")
    points = [
        Operating(fmr=1e-3, threshold=value, fnmr=0.05, genuine=900, impostors=9000)
        for value in (0.4, 0.1, 0.2)
    ]
    held = {state: [point] for state, point in zip(STATES, points, strict=True)}
    write_model(tmp_path / "m.safetensors", tensors, replace(card, thresholds=held))
    mfr("synth-mask", obama[1], "-o", "masked", "--type", "surgical", check=0)
    masked = "masked/barack_obama_0002.png"
    run = mfr("verify", *obama, masked, "-m", "m.safetensors", check=0)
    found = [(each["masked"], each["threshold"], each["fnmr"]) for each in lines(run)]
    assert found == [([False, False], 0.4, 0.05), ([False, True], 0.1, 0.05)]
    run = mfr("verify", *obama, "-m", "m.safetensors", "--fmr", "1e-4", check=0)
    assert lines(run)[0]["same"] is None
    assert b"no threshold at FMR 0.0001" in run.stderr
