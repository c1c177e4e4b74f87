"""The work of `mfrkit search`: every face of every shot, in every form."""

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import h5py
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError, PartialError
from mfrkit.recognition.options import SearchOptions
from mfrkit.recognition.search import search


@pytest.fixture
def place(tmp_path, photos):
    """A gallery of two people, flat and by folder; a shot of one of them beside a stranger."""
    staff, shots, obama = tmp_path / "staff", tmp_path / "shots", photos / "barack_obama"
    (staff / "Biden").mkdir(parents=True)
    shots.mkdir()
    shutil.copy(obama / "barack_obama_0001.jpg", staff / "Obama.jpg")
    shutil.copy(photos / "joe_biden" / "joe_biden_0001.jpg", staff / "Biden" / "1.jpg")
    pictures = [obama / "barack_obama_0002.jpg", photos / "eileen_collins/eileen_collins_0001.jpg"]
    both = [cv2.resize(cv2.imread(str(picture)), (480, 640)) for picture in pictures]
    cv2.imwrite(str(shots / "two.jpg"), cv2.hconcat(both))
    cv2.imwrite(str(shots / "wall.png"), both[0][:90, :90] * 0)
    (shots / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def run(capsys, gallery, shots, threshold="0.4", **options):
    options = SearchOptions(str(gallery), str(shots), threshold=threshold, **options)
    search(options, Console())
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err


@pytest.mark.usefixtures("loaded")
def test_every_face_of_every_shot(capsys, place):
    found, said = run(capsys, place / "staff", place / "shots")
    by_face = {(each["shot"], each["face"]): each for each in found}
    assert set(by_face) == {("two", 1), ("two", 2), ("wall", None), ("torn", None)}
    people = sorted([by_face["two", 1]["person"], by_face["two", 2]["person"]])
    assert people == ["Obama", "unknown"]
    assert by_face["wall", None]["reason"] == "no face found"
    assert by_face["torn", None]["reason"] not in ("no face found", None)
    assert "3 shots: 1 face of known people, 1 of others; 2 shots without a face" in said
    again, said = run(capsys, place / "staff", place / "shots")
    assert "all up to date" in said
    assert again == found


@pytest.mark.usefixtures("loaded")
def test_shots_that_are_none_are_bad_input(capsys, place):
    (place / "nothing").mkdir()
    with pytest.raises(InputError, match="nothing: no pictures found"):
        run(capsys, place / "staff", place / "nothing")


@pytest.mark.usefixtures("loaded")
def test_a_damaged_index_is_named(capsys, place):
    run(capsys, place / "staff", place / "shots")
    (place / "staff" / "Obama.jpg").touch()
    with h5py.File(place / "staff.index.h5", "r+") as file:
        del file["stamps"]
        file["stamps"] = [1, 2, 3]
    with pytest.raises(InputError, match=r"staff\.index\.h5: damaged"):
        run(capsys, place / "staff", place / "shots")
    with h5py.File(place / "staff.index.h5", "r+") as file:
        del file["stamps"]
        file["stamps"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(InputError, match="link to data elsewhere; refused"):
        run(capsys, place / "staff", place / "shots")


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("name", ["hits.csv", "hits.jsonl"])
def test_names_that_are_not_utf8_are_written(capsys, place, name):
    odd = next(path for path in (place / "shots").rglob("*.jpg"))
    shutil.copy(odd, Path(os.fsdecode(os.fsencode(odd.parent) + b"/q\xff.jpg")))
    run(capsys, place / "staff", place / "shots", output=place / name)
    assert r"q\udcff" in (place / name).read_text()


@pytest.mark.usefixtures("loaded")
def test_a_table_for_programs_and_a_page_for_people(capsys, place):
    files = {"output": place / "hits.csv", "report": place / "who.html", "index": place / "i.h5"}
    printed, _ = run(capsys, place / "staff", place / "shots", **files)
    assert printed == []
    with files["output"].open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["person"] for row in rows) == ["", "", "Obama", "unknown"]
    page = files["report"].read_text()
    assert page.count("data:image/jpeg") == 4
    assert "Recognised: 1" in page
    assert not (place / "staff.index.h5").exists()
    with pytest.raises(InputError, match="exists already"):
        SearchOptions("staff", "shots", **files)


@pytest.mark.usefixtures("loaded")
def test_embedding_files_and_crops_on_either_side(capsys, place, worked):
    made = worked.folder
    both, _ = run(capsys, made / "embeddings.h5", made / "masked.h5", "0.2")
    assert all(each["person"] == each["shot"].split("/")[0] for each in both)
    one, _ = run(capsys, place / "staff", made / "masked.h5", "0.2")
    names = {each["shot"]: each["person"] for each in one}
    assert names["barack_obama/barack_obama_0002"] == "Obama"
    crops, _ = run(capsys, made / "embeddings.h5", made / "crops")
    assert all(each["score"] > 0.8 for each in crops)
    with pytest.raises(InputError, match="not by maskinv"):
        run(capsys, made / "embeddings.h5", place / "shots", model="maskinv")


@pytest.mark.usefixtures("loaded")
def test_without_thresholds_the_best_are_named_as_guesses(capsys, place, monkeypatch):
    found, said = run(capsys, place / "staff", place / "shots/two.jpg", None, fmr=1e-9)
    assert all(each["best"] for each in found)
    assert "--threshold" in said or "strangers" in said


@pytest.mark.usefixtures("loaded")
def test_nothing_to_search_or_nobody_to_find(capsys, place):
    with pytest.raises(PartialError):
        run(capsys, place / "staff", place / "shots/wall.png")
    with pytest.raises(InputError, match="nobody to search among"):
        run(capsys, place / "shots/wall.png", place / "shots")
    with pytest.raises(InputError, match="no such file or folder"):
        run(capsys, place / "staff", place / "nowhere")


def test_what_no_run_can_use_is_refused_at_once(tmp_path):
    (tmp_path / "e.h5").touch()
    for wrong, said in (
        ({"gallery": "nowhere.h5"}, "nowhere.h5: no such file"),
        ({"output": Path("hits.txt")}, "hits.txt: expected a name ending in .csv"),
        ({"gallery": "-"}, "read more than once"),
        ({"fpir": 0.1, "fmr": 0.1}, "give one of them"),
        ({"fpir": 7}, "FPIR 7: expected a share"),
        ({"fmr": 0.0}, "FMR 0: expected a share"),
        ({"gallery": str(tmp_path / "e.h5"), "index": Path("i.h5")}, "--index"),
    ):
        with pytest.raises(InputError, match=said):
            SearchOptions(**{"gallery": "staff", "shots": "shots"} | wrong)
