"""Which mask the face of a crop wears, of those drawn on its photo."""

import json

import pytest

from mfrkit.io.covariates import read_covariates
from mfrkit.io.manifest import Record
from mfrkit.io.worn_mask import worn_mask


def face(x, y, kind=None, coverage="above", size=40.0):
    """A face whose eyes are `size` apart and level, their midpoint at (x, y)."""
    half = size / 2
    points = [[x - half, y], [x + half, y], [x, y + half]]
    points += [[x - half, y + size], [x + half, y + size]]
    return {"points": points} | ({} if kind is None else {"type": kind, "coverage": coverage})


def cut_from(*drawn, at=None, **fields):
    blocks = {"mask": {"type": "+".join(each["type"] for each in drawn), "faces": list(drawn)}}
    if at is not None:
        blocks["align"] = at
    return Record(key="a", path="a.png", source="a.png", blocks=blocks, **fields)


TWO = (face(60, 80, "cloth"), face(180, 90, "n95", "below"))


def test_a_crop_of_one_face_wears_what_its_block_says():
    block = {"type": "cloth", "coverage": "on"}
    assert worn_mask(Record("a", "a.png", "a.png", blocks={"mask": block})) == block
    assert worn_mask(Record("a", "a.png", "a.png")) is None


@pytest.mark.parametrize(("x", "kind"), [(66, "cloth"), (172, "n95")])
def test_a_crop_cut_from_a_photo_wears_the_mask_of_the_nearest_face(x, kind):
    worn = worn_mask(cut_from(*TWO, at=face(x, 84)))
    assert worn["type"] == kind


def test_where_the_mask_moves_nose_and_mouth_the_eyes_decide():
    found = face(60, 80)
    found["points"][2:] = [[150, 100], [160, 120], [190, 130]]
    assert worn_mask(cut_from(*TWO, at=found))["type"] == "cloth"


def test_a_face_nobody_drew_on_wears_none():
    assert worn_mask(cut_from(*TWO, at=face(120, 20)))["type"] == "none"


def test_a_photo_without_crop_counts_as_its_largest_face():
    lost = cut_from(face(60, 80, "cloth"), face(180, 90, "n95", size=41), status="skipped")
    assert worn_mask(lost)["type"] == "n95"


@pytest.mark.parametrize("points", [None, [], [[1, 2]] * 4, [["x", 1]] * 5, "abcde"])
def test_points_that_make_no_sense_leave_the_photo_as_a_whole(points):
    broken = {"type": "cloth", "points": points}
    assert worn_mask(cut_from(broken, at=face(0, 0)))["type"] == "cloth"
    assert worn_mask(cut_from(*TWO, at={"points": points}))["type"] == "cloth+n95"


def test_traits_of_a_manifest_are_those_of_the_face_that_is_compared(tmp_path):
    path = tmp_path / "manifest.jsonl"
    lost = cut_from(TWO[0]).skipped("no face found")
    records = [cut_from(*TWO, at=face(170, 90)), lost]
    fields = [{**record.to_json(), "key": key} for key, record in zip("ab", records, strict=True)]
    path.write_text("".join(json.dumps(each) + "\n" for each in fields))
    rows = read_covariates(path).rows
    assert rows["a"] == {"mask": "n95", "coverage": "below"}
    assert rows["b"] == {"mask": "cloth", "coverage": "above"}, "a lost face counts in its kind"
