"""Verification files: every way they were ever pickled is read, and nothing in them is run."""

import os
import pickle
import pickletools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfrkit.errors import InputError
from mfrkit.io.verification_bin import read_bin, write_bin

PICTURES = [b"\xff\xd8\xff one", b"\x89PNG \x80two", b"", b"four"]
SAME = [True, False]
LONG_TEXT = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "x.bin"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        return read_bin(path)

    return read


def check(found):
    assert found.pictures == PICTURES
    assert found.same.tolist() == SAME


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "kind", [bytes, bytearray, lambda b: np.frombuffer(b, np.uint8).copy()[:, None]]
)
@pytest.mark.parametrize(
    "labels",
    [SAME, tuple(SAME), [1, 0], np.array(SAME), np.array([7, 0]), [np.bool_(True), np.int64(0)]],
)
def test_every_protocol_and_kind(read, protocol, kind, labels):
    check(read(pickle.dumps(([kind(p) for p in PICTURES], labels), protocol=protocol)))


def test_a_python_2_file_written_by_hand(read):
    """`pickle.dumps((['\\x80a', 'b'], [True]), 2)` of Python 2.7: byte strings, short and long."""
    body = b"\x80\x02]q\x00(U\x02\x80aT" + struct.pack("<I", 1) + b"be]q\x01\x88a\x86q\x02."
    found = read(body)
    assert found.pictures == [b"\x80a", b"b"]
    assert found.same.tolist() == [True]


def test_a_python_2_text_pickle_written_by_hand(read):
    """Protocol 0, the default of Python 2: escaped strings and `I01` for True."""
    found = read(b"((lp0\nS'\\x80a'\naS'b'\na(lp1\nI01\nat.")
    assert found.pictures == [b"\x80a", b"b"]
    assert found.same.tolist() == [True]


def test_round_trip_and_what_other_readers_see(tmp_path):
    path = tmp_path / "x.bin"
    write_bin(path, PICTURES, SAME)
    check(read_bin(path))
    with path.open("rb") as file:
        bins, issame = pickle.load(file, encoding="bytes")  # as InsightFace's reader does
    assert bins == PICTURES
    assert issame == SAME
    assert {type(item) for item in (*bins, *issame)} == {bytes, bool}
    names = {op.name for op, *_ in pickletools.genops(path.read_bytes())}
    assert not names & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}


def test_the_wrong_number_of_pictures_is_not_written(tmp_path):
    with pytest.raises(InputError, match="3 pictures for 2 pairs"):
        write_bin(tmp_path / "x.bin", PICTURES[:3], SAME)


class Run:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (Run(os.system, "touch never"), "system"),
        (Run(eval, "1/0"), "builtins.eval"),
        (Run(np.load, "x.npy"), "numpy"),
        (Run(getattr, "", "join"), "builtins.getattr"),
        (Run(bytes, 10**12), "expected bytes, got int"),
        (np.array(["x"], dtype=object), "an array of type"),
        (np.zeros(3), "an array of type b'f8'"),
    ],
)
def test_programs_in_a_pickle_are_not_run(read, payload, name):
    with pytest.raises(InputError, match=name) as caught:
        read(([payload, b""], [True]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a verification file"),
        (b"\x80\x04", "not a verification file"),
        (b"\x80\x02(U\x02", "not a verification file"),
        ([], "expected two lists"),
        ((b"ab", [True]), "expected a list of pictures"),
        (([b"a", 7], [True]), "expected bytes, got int"),
        (([b"a", b"b"], ["yes"]), "a label is"),
        (([b"a", b"b"], 5.0), "a label is float"),
        (([b"a", b"b", b"c"], [True]), "holds 3 pictures and 1 labels"),
        (([], []), "holds 0 pictures"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "not a verification file"),
    ],
)
def test_other_files_are_refused_in_one_line(read, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read(content)
    assert "x.bin" in str(caught.value)


def test_stand_ins_cannot_be_changed_by_a_pickle(read):
    """BUILD on the class itself, which would change it for every later file."""
    content = b"\x80\x02cnumpy\nndarray\n}U\x03rawU\x04evilsb."
    with pytest.raises(InputError):
        read(content)
    check(read(pickle.dumps((PICTURES, np.array(SAME)))))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_bin(tmp_path / "none.bin")


@given(st.binary(max_size=80), st.integers(0, 200), st.integers(0, 255))
def test_no_bytes_make_the_reader_crash(tmp_path_factory, noise, place, value):
    path = tmp_path_factory.getbasetemp() / "noise.bin"
    good = bytearray(pickle.dumps((PICTURES, np.array(SAME)), protocol=4))
    good[place % len(good)] = value
    for content in (noise, bytes(good)):
        path.write_bytes(content)
        try:
            found = read_bin(path)
        except InputError:
            continue
        assert len(found.pictures) == 2 * found.same.size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02Nr" + struct.pack("<I", 0x10000000) + b".", "remembers 268435456 things"),
        (b"\x80\x02Np999999999\n.", "remembers 999999999 things"),
        (
            b"\x80\x02]X"
            + struct.pack("<I", 10**6)
            + b"a" * 10**6
            + b"q\0"
            + b"ah\0" * 10**5
            + b"a.",
            "unfolds",
        ),
        (b"\x80\x02]" + b"2" * 1000 + b".", "unfolds"),
    ],
)
def test_pickles_that_unfold_are_refused_before_they_do(read, content, message):
    with pytest.raises(InputError, match=message):
        read(content)


def test_pictures_that_stand_in_many_pairs_are_no_bomb(read):
    pictures = [bytes([n]) * 5000 for n in range(10)]
    found = read((pictures * 20, [True] * 100))
    assert found.pictures == pictures * 20
