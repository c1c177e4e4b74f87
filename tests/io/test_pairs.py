"""Pair lists: each published format, what is malformed, and round trips."""

import csv
import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from mfrkit.errors import InputError
from mfrkit.io.files import canonical
from mfrkit.io.pairs import PairList, contiguous_folds, parse, read_pairs


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes) -> PairList:
        path = tmp_path / "pairs.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_pairs(path)

    return read


LFW = "2\t1\nAda\t1\t2\nAda\t1\tJ.Lo\t12\nJ.Lo\t3\t12345\nBob_X\t1\tAda\t9\n"


def test_lfw_with_two_header_numbers(read):
    pairs = read(LFW)
    assert pairs.format == "lfw"
    assert pairs.a == ["Ada/Ada_0001", "Ada/Ada_0001", "J.Lo/J.Lo_0003", "Bob_X/Bob_X_0001"]
    assert pairs.b == ["Ada/Ada_0002", "J.Lo/J.Lo_0012", "J.Lo/J.Lo_12345", "Ada/Ada_0009"]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]
    assert pairs.line.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "variant",
    [
        LFW.replace("\t", " "),
        LFW.replace("\t", "   \t "),
        LFW.replace("\n", "\r\n"),
        LFW.replace("\n", "\r"),
        "\ufeff" + LFW,
        LFW + "\n\n   \n",
        LFW.rstrip("\n"),
    ],
    ids=["spaces", "runs", "crlf", "cr", "bom", "blank lines", "no last newline"],
)
def test_lfw_spellings_read_alike(read, variant):
    pairs, plain = read(variant), read(LFW)
    assert (pairs.a, pairs.b) == (plain.a, plain.b)
    assert pairs.fold.tolist() == plain.fold.tolist()


def test_tabs_allow_names_with_spaces(read):
    assert read("1\t1\nAda Lee\t1\t2\nAda Lee\t1\tBob Roy\t1\n").b == [
        "Ada Lee/Ada Lee_0002",
        "Bob Roy/Bob Roy_0001",
    ]


def test_one_person_named_twice_is_one_person(read):
    assert read("Ada 1 Ada 2\nAda 1 Bob 1\n").same.tolist() == [True, False]


def test_lfw_development_list_is_dealt_out_by_class(read):
    same = "".join(f"A\t1\t{j}\n" for j in range(2, 22))
    other = "".join(f"A\t1\tB\t{j}\n" for j in range(1, 21))
    pairs = read(f"20\n{same}{other}")
    assert np.bincount(pairs.fold).tolist() == [4] * 10
    for fold in range(10):
        assert pairs.same[pairs.fold == fold].mean() == 0.5


def test_mfr2_has_no_header_and_ten_contiguous_folds(read):
    lines = ["Ada 1 2" if n % 3 else "Ada 1 Bob 2" for n in range(84)]
    pairs = read("\n".join(lines))
    assert pairs.format == "mfr2"
    assert len(pairs) == 84  # the first line is a pair, not a header
    assert pairs.same.sum() == 56
    for fold, (_, held_out) in enumerate(KFold(10).split(np.zeros(84))):
        assert np.flatnonzero(pairs.fold == fold).tolist() == held_out.tolist()


@pytest.mark.parametrize("order", [["Ada 1 2", "Ada 1 Bob 1"], ["Ada 0 1", "Bob 0 1"]])
def test_names_and_numbers_are_not_taken_for_paths(read, order):
    assert read("\n".join(order)).format == "mfr2"


def test_path_lists(read):
    pairs = read("x/a.jpg y/b.PNG 1\n./x/J.Lo y/c.tar 0\n")
    assert pairs.format == "paths"
    assert pairs.a == ["x/a", "x/J.Lo"]
    assert pairs.b == ["y/b", "y/c.tar"]
    assert pairs.same.tolist() == [True, False]


def test_path_lists_with_tabs_may_hold_spaces(read):
    assert read("x y/a 1.jpg\tz/b 2.jpg\t1\n").a == ["x y/a 1"]


def test_numbered_files_are_a_path_list(read):
    pairs = read("0001 0002 1\n0001 0003 0\n")
    assert (pairs.format, pairs.a) == ("paths", ["0001", "0001"])


def test_two_line_lists_give_every_fold_both_classes(read):
    rows = [f"P{n}_1.jpg {label}\nP{n}_2.jpg {label}" for label in (3, 0) for n in range(30)]
    pairs = read("\n".join(rows))
    assert pairs.format == "two-line"
    assert (pairs.a[0], pairs.b[0], pairs.same[0]) == ("P0_1", "P0_2", True)
    assert pairs.line[:2].tolist() == [1, 3]
    for fold in range(10):
        assert pairs.same[pairs.fold == fold].tolist() == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    "table",
    [
        "a,b,same\nx/a.jpg,x/b.jpg,1\nx/a.jpg,y/c.jpg,0\n",
        "Label;Path2;Path1\ntrue;x/b;x/a\nFalse;y/c;x/a\n",
        ",ref,probe,genuine,other\n0,x/a,x/b,1.0,?\n1,x/a,y/c,0.0,?\n",
        'key_a\tkey_b\tsame\tscore\n"x/a"\tx/b\t1\t0.5\nx/a\ty/c\t0\t0.1\n',
    ],
)
def test_tables_find_their_columns_by_name(read, table):
    pairs = read(table)
    assert pairs.format == "csv"
    assert (pairs.a, pairs.b) == (["x/a", "x/a"], ["x/b", "y/c"])
    assert pairs.same.tolist() == [True, False]
    assert pairs.fold.tolist() == [0, 1]


def test_a_fold_column_is_kept(read):
    assert read("a,b,same,fold\nx,y,1,7\nx,z,0,3\n").fold.tolist() == [7, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the pair list is empty"),
        ("\n \n\t\n", "the pair list is empty"),
        (b"\xff\xfea\x00", "byte 0 is not UTF-8"),
        (b"a\x00b c 1", "binary data"),
        (b"\x89HDF\r\n\x1a\n", "byte 0 is not UTF-8"),
        ("hello", "line 1: expected a header"),
        ("a b c d e", "line 1: expected a header"),
        (LFW + "Ada 1 2", "promises 4 pairs (2 folds of 1 + 1), but 5 follow"),
        ("10 300\n", "promises 6000 pairs"),
        ("0\n", "promises 0 pairs"),
        ("1 1\nAda 1 2\nAda 1\n", "line 3: expected `name i j` or `name i name j`, got 'Ada 1'"),
        ("1\nAda b c\nAda 1 2\n", "line 2: expected `name i j`"),
        ("Ada 1 2\n\nAda 1 Bob two\n", "line 3: expected `name i j`"),
        ("x y 1\nx y 2\n", "line 2: expected `a b 0` or `a b 1`"),
        ("x y 1\nmy x y 1\n", "separate the fields by tabs"),
        ("x 1\ny 1\nz 0\n", "line 3: expected two lines a pair"),
        ("x 1\ny 0\n", "line 2: expected the same label"),
        ("x 1\ny one\n", "line 2: expected `image label`"),
        ("a,b,same\n", "no pairs"),
        (",,,\n", "line 1: expected a header"),
        ('a,b,"same\nx",y\n1,2,3,4\n', "line 1: expected a header"),
        ("a,b,same\nx,y\n", "line 2: expected at least 3 columns"),
        ("a,b,same\nx,,1\n", "line 2: expected two image names"),
        ("a,b,same\nx,y,maybe\n", "line 2: expected 1 or 0"),
        ("a,b,same,fold\nx,y,1,z\n", "line 2: expected a number for the fold"),
        ("Ada " + "1" * 5000 + " 2", "line 1"),
    ],
)
def test_malformed_lists_say_what_and_where(read, content, message):
    with pytest.raises(InputError) as caught:
        read(content)
    assert message in str(caught.value)
    assert "pairs.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_paths(tmp_path):
    with pytest.raises(InputError, match="no such pair list"):
        read_pairs(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder"):
        read_pairs(tmp_path)
    with pytest.raises(InputError, match="unreadable"):
        read_pairs(Path(f"{__file__}/below"))


@given(st.integers(0, 300), st.integers(1, 12))
def test_contiguous_folds_are_those_of_kfold(count, folds):
    ours = contiguous_folds(count, folds)
    assert ours.size == count
    if count >= folds > 1:
        theirs = np.empty(count, dtype=int)
        for fold, (_, held_out) in enumerate(KFold(folds).split(np.zeros(count))):
            theirs[held_out] = fold
        assert ours.tolist() == theirs.tolist()


LETTERS = "abzAZ09.-_éß東"
NAME = st.text(LETTERS, min_size=1, max_size=8).filter(lambda t: not t.isdigit())
INDEX = st.integers(1, 99999)


@given(st.lists(st.tuples(NAME, INDEX, NAME, INDEX), min_size=1), st.sampled_from("\t "))
def test_named_pairs_round_trip(rows, blank):
    lines, expected = [], []
    for name, i, other, j in rows:
        fields = [name, i, j] if name == other else [name, i, other, j]
        lines.append(blank.join(map(str, fields)))
        expected.append((f"{name}/{name}_{i:04d}", f"{other}/{other}_{j:04d}", name == other))
    if all(line.count(blank) == 2 for line in lines):
        return  # a list without a single pair of two people may be anything
    assert [pair[:3] for pair in parse("\n".join(lines), "").pairs] == expected


FILE = (
    st.text(LETTERS + " /", min_size=1, max_size=12)
    .map(str.strip)
    .map(lambda t: canonical(f"x/{t}q"))
)


@given(st.lists(st.tuples(FILE, FILE, st.booleans()), min_size=1))
def test_path_pairs_round_trip(rows):
    text = "\n".join(f"{a}.jpg\t{b}.jpg\t{int(same)}" for a, b, same in rows)
    assert [pair[:3] for pair in parse(text, "").pairs] == rows


@given(st.lists(st.tuples(FILE, FILE, st.booleans()), min_size=1))
def test_two_line_pairs_round_trip(rows):
    text = "\n".join(f"{a}.jpg\t{int(same)}\n{b}.jpg\t{int(same)}" for a, b, same in rows)
    assert [pair[:3] for pair in parse(text, "").pairs] == rows


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=9)
KEY = CELL.map(lambda t: canonical(f"k{t}q"))


@given(st.lists(st.tuples(KEY, KEY, st.booleans(), st.integers(0, 99)), min_size=1))
def test_tables_round_trip(rows):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["a", "b", "same", "fold"])
    writer.writerows((a, b, int(same), fold) for a, b, same, fold in rows)
    pairs = parse(out.getvalue(), "").pairs
    assert [(pair.a, pair.b, pair.same, pair.fold) for pair in pairs] == rows


@given(
    st.one_of(
        st.text(),
        st.text("ab01 \t\n,\"'-."),
        st.text("01 \n").map(lambda t: f"Ada 1 2\n{t}"),
        st.text('ab01,"\n').map(lambda t: f"a,b,same\n{t}"),
    )
)
def test_no_text_makes_the_reader_crash(text):
    with suppress(InputError):
        assert parse(text, "pairs.txt").pairs
