"""Covariates, scores and templates in every form, and what is wrong with them said in one line."""

import json

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.io.tables import read_covariates, read_scores, read_templates


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


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "s.txt"
        path.write_text(text)
        return read_scores(path)

    return read


@pytest.mark.parametrize("blank", [" ", "\t", ",", "   ", ", "])
@pytest.mark.parametrize("fold", [False, True])
def test_four_and_five_columns_without_names(read, blank, fold):
    rows = [["x/a.jpg", "x/b.jpg", "1", "0.75"], ["x/a.jpg", "y/c", "0", "-1e-2"]]
    if fold:
        rows = [[*row[:3], str(7 - n), row[3]] for n, row in enumerate(rows)]
    found = read("\n".join(blank.join(row) for row in rows))
    assert found.pairs.a == ["x/a", "x/a"]
    assert found.pairs.b == ["x/b", "y/c"]
    assert found.pairs.same.tolist() == [True, False]
    assert found.pairs.fold.tolist() == ([7, 6] if fold else [0, 1])
    assert found.systems == [""]
    assert found.scores.tolist() == [[0.75, -0.01]]


def test_columns_are_found_by_name_and_each_further_one_is_a_system(read):
    found = read("arcface,label,path2,path1,student\n0.5,true,b,a,0.25\n0.1,false,c,a,\n")
    assert (found.pairs.a, found.pairs.b) == (["a", "a"], ["b", "c"])
    assert found.systems == ["arcface", "student"]
    np.testing.assert_array_equal(found.scores, [[0.5, 0.1], [0.25, np.nan]])


def test_a_column_called_score_is_the_only_one(read):
    found = read("key_a\tkey_b\tsame\tfold\tscore\tremark\na\tb\t1\t3\t-inf\tno face\n")
    assert found.systems == [""]
    assert found.scores.tolist() == [[-np.inf]]
    assert found.pairs.fold.tolist() == [3]


def test_bobs_four_and_five_columns(read):
    four = read("ada ada ada/1 2.5\nada bob bob/1 -3\n")
    assert (four.pairs.a, four.pairs.b) == (["ada", "ada"], ["ada/1", "bob/1"])
    assert four.pairs.same.tolist() == [True, False]
    five = read("ada m1 ada ada/1 2.5\nada m1 bob bob/1 nan\n")
    assert five.pairs.a == ["m1", "m1"]
    assert five.pairs.same.tolist() == [True, False]
    np.testing.assert_array_equal(five.scores, [[2.5, np.nan]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n", "the score file is empty"),
        ("a b 1\n", "line 1: expected column names, or four or five fields"),
        ("a b 1 0.5\na b 0.4\n", "line 2: expected 4 fields"),
        ("a b 1 high\n", "line 1: expected a number for the score instead of 'high'"),
        ("a b 1 inf\n", "line 1: expected a finite score"),
        ("a b 1 x 0.5\n", "line 1: expected a number for the fold"),
        ("a,b,same\nx,y,1\n", "a pair list without scores"),
        ("a,b,same,score\n", "has column names but no scores"),
        ("a,b,same,score\nx,y,1\n", "line 2: expected at least 4 columns"),
        ("a,b,same,score\nx,y,maybe,1\n", "line 2: expected 1 or 0"),
        ("a,b,same,kind,mine\nx,y,1,n95,0.5\n", "instead of 'n95'"),
    ],
)
def test_malformed_files_say_what_and_where(read, text, message):
    with pytest.raises(InputError) as caught:
        read(text)
    assert message in str(caught.value)
    assert "s.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such score file"):
        read_scores(tmp_path / "none.tsv")


IJB = "1.jpg 10 69544\nimg/2.jpg 10 69544\n3.jpg 20 7\n4.jpg 10 8\n"


@pytest.fixture
def read_list(tmp_path):
    def read(text):
        (tmp_path / "t.txt").write_text(text)
        return read_templates(tmp_path / "t.txt")

    return read


@pytest.mark.parametrize(
    "text",
    [
        IJB,
        IJB.replace(" ", "\t"),
        "SIGHTING_ID,SUBJECT_ID,FILENAME,TEMPLATE_ID\n"
        "69544,s,1.jpg,10\n69544,s,img/2.jpg,10\n7,s,3.jpg,20\n8,s,4.jpg,10\n",
        "path;template;media\n1;10;a\nimg/2;10;a\n3;20;a\n4;10;b\n",
    ],
)
def test_lists_are_read_and_ordered(read_list, text):
    found = read_list(text)
    assert found.names == ["10", "20"]
    assert found.keys == ["1", "img/2", "4", "3"]
    assert found.template.tolist() == [0, 0, 0, 1]
    assert found.media.tolist() == [0, 0, 1, 2]


def test_without_media_each_picture_is_its_own(read_list):
    assert read_list("template,image\nt,a\nt,b\nu,a\n").media.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the template list is empty"),
        ("a b\n", "line 1: expected `image template media`"),
        ("a t 1\na t\n", "line 2: expected `image template media`"),
        ("template,image\n", "no templates"),
        ("template,image\n,x\n", "line 2: expected a template and an image"),
    ],
)
def test_malformed_lists_say_what_and_where(read_list, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_list(text)
    assert "t.txt" in str(caught.value)
