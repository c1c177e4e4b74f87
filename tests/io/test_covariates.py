"""Tables of traits: what is read, and what is refused."""

import json

import pytest

from mfrkit.errors import InputError
from mfrkit.io.tables import read_covariates


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_by_its_key(tmp_path, delimiter):
    lines = ["sex,key , group", "F,P1/P1_0001.jpg,a", "M, ./P2/P2_0001 ,", '"F",P3,"b"']
    text = "\ufeff" + "\r\n".join(lines).replace(",", delimiter) + "\r\n\r\n"
    (tmp_path / "t.csv").write_text(text, newline="", encoding="utf-8")
    table = read_covariates(tmp_path / "t.csv")
    assert table.columns == ("sex", "group")
    assert table.rows == {
        "P1/P1_0001": {"sex": "F", "group": "a"},
        "P2/P2_0001": {"sex": "M", "group": ""},
        "P3": {"sex": "F", "group": "b"},
    }
    assert not table.is_manifest


def test_a_manifest_tells_of_masks(tmp_path):
    mask = {"type": "n95", "coverage": "below", "seed": 7, "polygon": [[1, 2]]}
    records = [
        {"key": "a", "path": "a.png", "mask": mask},
        {"key": "b", "path": "b.png"},
        {"key": "c", "path": None, "status": "skipped", "mask": mask},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    table = read_covariates(tmp_path / "m.jsonl")
    assert table.is_manifest
    worn = {"mask": "n95", "coverage": "below"}
    assert table.rows == {"a": worn, "c": worn}, "a masked face that was lost counts in its kind"
    assert table.columns == ("mask", "coverage")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,sex\na,F", r"t.csv: expected a header row with a `key` column"),
        ("", r"t.csv: expected a header row"),
        ("key,sex,sex\na,F,M", "each name once"),
        ("key,sex\na,F,M", r"t.csv, line 2: another number of columns"),
        ("key,sex\na,F\nb", r"t.csv, line 3: another number of columns"),
        ("key,sex\na,F\na.png,M", r"t.csv, line 3: key 'a' appears twice"),
        ("key,sex\n ,F", r"t.csv, line 2: the key is empty"),
        ('key,sex\n"a,F', r"t.csv, line .: not CSV"),
    ],
)
def test_broken_tables_are_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_covariates(tmp_path / "t.csv")


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="unreadable"):
        read_covariates(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"key\n\xff\xfe")
    with pytest.raises(InputError, match="byte 4 is not UTF-8"):
        read_covariates(tmp_path / "t.csv")
    (tmp_path / "m.jsonl").write_text('{"path": "a.png"}\n')
    with pytest.raises(InputError, match="no record tells of a mask"):
        read_covariates(tmp_path / "m.jsonl")
    (tmp_path / "m.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"m.jsonl, line 1: a record needs a path"):
        read_covariates(tmp_path / "m.jsonl")
