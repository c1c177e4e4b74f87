"""Which mask the face of a crop wears, of those drawn on its photo."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfrkit.console import to_line
from mfrkit.errors import InputError, ItemError
from mfrkit.io.manifest import Record, below, check_inside, parse_line, worn_mask
from mfrkit.io.tables import read_covariates

FIELDS = {"schema": 1, "path": "Ada/Ada_0001.png", "source": "Ada/Ada_0001.jpg", "status": "ok"}


def test_a_record_round_trips_with_unknown_fields():
    given_fields = {**FIELDS, "align": {"score": 0.9}, "lab": ["x", 1]}
    record = Record.from_json(given_fields, "here")
    assert record.key == "Ada/Ada_0001"
    assert record.identity == "Ada"
    written = json.loads(to_line(record.to_json()))
    assert written["align"] == {"score": 0.9}
    assert written["lab"] == ["x", 1]
    assert Record.from_json(written, "there") == record


def test_the_root_of_a_stream_record_is_not_kept():
    assert "root" not in Record.from_json({**FIELDS, "root": "/x"}, "here").to_json()


def test_a_skipped_record_needs_only_a_key():
    fields = {"key": "a", "path": None, "status": "skipped", "reason": "no face"}
    record = Record.from_json(fields, "here")
    assert (record.path, record.reason, record.status) == (None, "no face", "skipped")


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "a/../../b.png", ".."])
def test_paths_that_leave_the_root_are_refused(path):
    with pytest.raises(InputError, match="leaves its folder"):
        check_inside(path, "m.jsonl, line 1")
    with pytest.raises(InputError, match="m.jsonl, line 1"):
        Record.from_json({**FIELDS, "path": path}, "m.jsonl, line 1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2"),
        ({"path": 5}, "path must be text"),
        ({"path": None}, "a record needs a path or a key"),
        ({"status": "maybe"}, "status 'maybe'"),
        ({"key": "k", "path": None}, "makes no sense"),
    ],
)
def test_malformed_records_say_what_is_wrong(change, message):
    with pytest.raises(InputError, match=message):
        Record.from_json({**FIELDS, **change}, "m.jsonl, line 3")


@given(st.binary(max_size=60))
def test_any_line_parses_or_is_an_input_error(line):
    with suppress(InputError):
        assert isinstance(parse_line(line, "x"), dict)


@given(st.text(min_size=1, max_size=20).filter(lambda s: "\0" not in s))
def test_any_name_survives_the_round_trip(name):
    """Names with line feeds, quotes and letters of any script."""
    record = Record(key="k/" + name.replace("/", "_"), path="k/x.png", source=name)
    line = to_line(record.to_json())
    assert "\n" not in line
    assert json.loads(line.encode())["source"] == name


def test_a_name_that_is_not_utf8_survives():
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    line = to_line({"path": name}).encode()
    assert json.loads(line)["path"] == name


def test_a_name_no_file_can_have_costs_its_record_only():
    with pytest.raises(ItemError, match="m.jsonl, line 1: .* holds a NUL"):
        Record.from_json({**FIELDS, "path": "a\0b.png"}, "m.jsonl, line 1")
    with pytest.raises(ItemError, match="nested too deeply"):
        parse_line('{"a": ' + "[" * 100_000, "here")


def test_half_a_character_becomes_a_mark_and_bytes_of_names_stay():
    record = Record.from_json({**FIELDS, "identity": "\ud800x", "key": "\udcff"}, "here")
    assert (record.identity, record.key) == ("\ufffdx", "\udcff")


def test_numbers_json_does_not_know_become_null():
    written = json.loads(to_line({"a": [1.5, float("nan")], "b": {"c": float("inf")}}))
    assert written == {"a": [1.5, None], "b": {"c": None}}


def test_a_link_does_not_take_a_file_out_of_its_folder(tmp_path):
    folder, outside = tmp_path / "crops", tmp_path / "outside"
    (folder / "a").mkdir(parents=True)
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    assert below(folder, "a/1.png") == folder / "a/1.png"
    for path in ("link/1.png", "../outside/1.png", str(outside / "1.png")):
        with pytest.raises(InputError, match="refused"):
            below(folder, path)


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


@pytest.mark.parametrize(
    "points", [None, [], [[1, 2]] * 4, [["x", 1]] * 5, "abcde", [[10**400, 1]] * 5]
)
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
