"""Score files in every form, written by hand, and what is wrong with them said in one line."""

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.io.tables import read_scores


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
