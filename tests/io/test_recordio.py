"""RecordIO, against bytes written by hand from its specification."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfrkit.errors import ImageError
from mfrkit.io.recordio import (
    pack_entry,
    pack_record,
    record_size,
    unpack_entry,
    unpack_record,
)

MAGIC = bytes.fromhex("0a23d7ce")


@pytest.mark.parametrize(
    ("payload", "record"),
    [
        (b"", "0a23d7ce 00000000"),
        (b"abcde", "0a23d7ce 05000000 61626364 65000000"),
        # Not at a multiple of four: nothing special.
        (b"a" + MAGIC, "0a23d7ce 05000000 610a23d7 ce000000"),
        # First part empty, last part one byte; the magic word itself is left out.
        (MAGIC + b"z", "0a23d7ce 00000020 0a23d7ce 01000060 7a000000"),
        # Two of them: first, middle, last.
        (
            b"abcd" + MAGIC + b"efgh" + MAGIC,
            "0a23d7ce 04000020 61626364 0a23d7ce 04000040 65666768 0a23d7ce 00000060",
        ),
    ],
)
def test_records_have_the_bytes_of_the_specification(payload, record):
    content = bytes.fromhex(record)
    assert pack_record(payload) == content
    assert unpack_record(content) == payload


@given(st.lists(st.sampled_from([MAGIC, b"abcd", b"x", MAGIC[:2]]), max_size=12).map(b"".join))
def test_any_payload_comes_back_and_no_part_holds_an_aligned_magic_word(payload):
    record = pack_record(payload)
    assert unpack_record(record) == payload
    assert len(record) % 4 == 0
    at = 0
    while at < len(record):
        assert record[at : at + 4] == MAGIC
        length = struct.unpack_from("<I", record, at + 4)[0] & 0x1FFFFFFF
        part = record[at + 8 : at + 8 + length]
        assert all(part[i : i + 4] != MAGIC for i in range(0, len(part), 4))
        at += 8 + -(-length // 4) * 4


def test_the_size_of_a_record_is_found_by_walking(tmp_path):
    path = tmp_path / "a.rec"
    records = [pack_record(p) for p in (b"abc", b"abcd" + MAGIC + b"e", b"last")]
    path.write_bytes(b"".join(records))
    with path.open("rb") as file:
        assert record_size(file, 0) == 8 + 3
        assert record_size(file, len(records[0])) == 8 + 4 + 8 + 1
        with pytest.raises(ImageError, match="none begins"):
            record_size(file, 4)
        with pytest.raises(ImageError, match="none begins"):  # the last part of the second
            record_size(file, len(records[0]) + 12)
        with pytest.raises(ImageError, match="cut short"):
            record_size(file, 10_000)


@pytest.mark.parametrize("end", [3, 9, 22, 27])
def test_records_cut_short_are_told(end):
    with pytest.raises(ImageError, match="cut short"):
        unpack_record(pack_record(b"abcdefgh" + MAGIC + b"ijkl")[:end])


def test_entries_have_the_bytes_of_mxnet():
    one = bytes.fromhex("00000000 0000a040 0700000000000000 0000000000000000") + b"jpeg"
    assert pack_entry(5, 7, b"jpeg") == one
    assert unpack_entry(one) == ([5.0], b"jpeg")
    two = bytes.fromhex("02000000 00000000 0000000000000000 0000000000000000 00008040 0000c040")
    assert pack_entry((4, 6), 0) == two
    assert unpack_entry(two) == ([4.0, 6.0], b"")
    for damaged in (one[:20], two[:30]):
        with pytest.raises(ImageError, match="too short"):
            unpack_entry(damaged)
