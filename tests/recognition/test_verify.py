"""The work of `mfrkit verify`: pairs, several faces or none, thresholds, the picture."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError, PartialError
from mfrkit.evaluation.thresholds import SCHEMA
from mfrkit.models.cards import STATES, Operating
from mfrkit.recognition import verify as module
from mfrkit.recognition.mask_renderer import MaskRenderer
from mfrkit.recognition.options import VerifyOptions
from mfrkit.recognition.verify import verify


@pytest.fixture
def obama(photos):
    return [photos / "barack_obama" / f"barack_obama_000{n}.jpg" for n in (1, 2)]


@pytest.fixture
def biden(photos):
    return photos / "joe_biden" / "joe_biden_0001.jpg"


@pytest.fixture
def blank(noise_crops):
    return noise_crops / "p0" / "p0_0.png"


def run(capsys, *photos, threshold="0.4", **options):
    verify(VerifyOptions(photos, threshold=threshold, **options), Console())
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err


@pytest.mark.usefixtures("loaded")
def test_one_record_a_pair_and_a_picture(capsys, obama, biden, tmp_path):
    preview = tmp_path / "p.png"
    (same, other), _ = run(capsys, *obama, biden, preview=preview)
    assert (same["same"], other["same"]) == (True, False)
    assert same["similarity"] > 0.6 > 0.3 > other["similarity"]
    assert same["masked"] == [False, False]
    assert same["photo_b"] == str(obama[1])
    height, width = cv2.imread(str(preview)).shape[:2]
    assert (height > 2 * 168, width > 4 * 168) == (True, True)
    with pytest.raises(InputError, match="exists already"):
        VerifyOptions(tuple(obama), preview=preview)


@pytest.mark.usefixtures("loaded")
def test_json_is_one_object_with_a_photo_without_a_face_in_it(capsys, obama, blank):
    (found,), said = run(capsys, *obama, blank, json=True)
    assert found["model"] == "mfr"
    assert [pair["same"] for pair in found["pairs"]] == [True, None]
    assert found["pairs"][1]["reason"] == "no face found"
    assert "no face found" in said


@pytest.mark.usefixtures("loaded")
def test_nothing_compared_is_a_failure(capsys, obama, blank):
    with pytest.raises(PartialError):
        run(capsys, obama[0], blank)
    with pytest.raises(InputError, match="no face found"):
        run(capsys, blank, obama[0])


@pytest.mark.usefixtures("loaded")
def test_all_faces(capsys, obama, tmp_path):
    two = tmp_path / "two.png"
    pictures = [cv2.resize(cv2.imread(str(photo)), (480, 640)) for photo in obama]
    cv2.imwrite(str(two), cv2.hconcat(pictures))
    found, said = run(capsys, obama[0], two)
    assert "2 faces" in said
    assert len(found) == 1
    each, _ = run(capsys, obama[0], two, all_faces=True)
    assert [record["compared"] for record in each] == [[1, 1], [1, 2]]
    assert all(record["same"] for record in each)


def test_the_card_decides_by_who_wears_a_mask(capsys, obama, loaded, tmp_path, monkeypatch):
    points = [
        Operating(fmr=1e-3, threshold=value, fnmr=0.05, genuine=900, impostors=9000)
        for value in (0.4, 0.1, 0.2)
    ]
    held = {state: [point] for state, point in zip(STATES, points, strict=True)}
    card = replace(loaded.card, thresholds=held)
    monkeypatch.setattr(module, "recogniser_card", lambda *_: card)
    masked = tmp_path / "masked.png"
    photo = cv2.imread(str(obama[1]))[None, ..., ::-1]
    (face,) = loaded.faces(obama[1])
    drawn = MaskRenderer("surgical")(photo, face.points[None]).faces[0]
    cv2.imwrite(str(masked), drawn[..., ::-1])
    found, _ = run(capsys, *obama, masked, threshold=None)
    summary = [(each["masked"], each["threshold"], each["fnmr"]) for each in found]
    assert summary == [([False, False], 0.4, 0.05), ([False, True], 0.1, 0.05)]
    (undecided,), said = run(capsys, *obama, threshold=None, fmr=1e-4)
    assert undecided["same"] is None
    assert "no threshold at FMR 0.0001" in said


@pytest.mark.usefixtures("loaded")
def test_a_threshold_file_of_eval_is_taken(capsys, obama, tmp_path, recogniser):
    counts = {"genuine": 10, "impostor": 10, "false_non_matches": 1, "false_matches": 5}
    made = {"model": "mfr", "weights_sha256": recogniser.card.sha256, "flip": True}
    held = {"pairs": "p.txt", "target_fmr": 0.5, "threshold": 0.3, "achieved": counts}
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"schema": SCHEMA, "thresholds": [made | held]}))
    (record,), _ = run(capsys, *obama, threshold=str(file), fmr=0.5)
    assert (record["same"], record["fmr"], record["fnmr"]) == (True, 0.5, 0.1)
    with pytest.raises(InputError, match=r"only at 0\.5"):
        run(capsys, *obama, threshold=str(file), fmr=0.1)
    with pytest.raises(InputError, match="neither a number nor a file"):
        run(capsys, *obama, threshold="high")


def test_what_no_run_can_use_is_refused_at_once(obama, tmp_path):
    for wrong, said in (
        ({"photos": tuple(obama[:1])}, "at least two"),
        ({"photos": (obama[0], Path("missing.jpg"))}, "missing.jpg: no such file"),
        ({"photos": (obama[0], tmp_path)}, "mfrkit search"),
        ({"fmr": 2}, "FMR 2"),
        ({"preview": Path("p.gif")}, "p.gif"),
    ):
        with pytest.raises(InputError, match=said):
            VerifyOptions(**{"photos": tuple(obama)} | wrong)
