"""Pictures out of RecordIO files: those of InsightFace, flat ones, damaged ones."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfrkit.errors import ImageError, InputError
from mfrkit.io.images import encode_image, read_image
from mfrkit.io.rec import (
    RecSource,
    pack_entry,
    pack_record,
    record_size,
    unpack_entry,
    unpack_record,
)
from mfrkit.io.source import open_source

MAGIC = bytes.fromhex("0a23d7ce")


def picture(value: int) -> bytes:
    return encode_image(np.full((8, 6, 3), value, np.uint8), ".png")


def write(path, entries):
    """Write {key: payload} in order, as other programs would."""
    offsets, content = [], b""
    for key, payload in entries.items():
        offsets.append(f"{key}\t{len(content)}\n")
        content += pack_record(payload)
    path.write_bytes(content)
    path.with_suffix(".idx").write_text("".join(offsets))
    return path


@pytest.fixture
def insightface(tmp_path):
    """Three people with 2, 1 and 2 pictures; labels 0, 7 and 9."""
    labels = [0, 0, 7, 9, 9]
    entries = {0: pack_entry((6, 9), 0)}
    entries |= {i: pack_entry(label, i, picture(i)) for i, label in enumerate(labels, start=1)}
    entries |= {6: pack_entry((1, 3), 6), 7: pack_entry((3, 4), 7), 8: pack_entry((4, 6), 8)}
    return write(tmp_path / "train.rec", entries)


def test_ranges_and_the_head_are_no_pictures(insightface):
    source = open_source(str(insightface))
    items = list(source)
    assert [item.record.key for item in items] == ["0/1", "0/2", "7/3", "9/4", "9/5"]
    assert [item.record.identity for item in items] == ["0", "0", "7", "9", "9"]
    assert source.labels.tolist() == [0, 0, 1, 2, 2]
    assert source.count() == 5
    for number, item in enumerate(items, start=1):
        assert read_image(item.path)[0, 0].tolist() == [number] * 3
    assert source[3].record == items[3].record
    assert str(items[3].path) == f"{insightface}: 9/4"


def test_flat_files_and_several_labels(tmp_path):
    entries = {
        3: pack_entry((2.0, 0.0, 5.5), 3, picture(30)),
        0: pack_entry(2, 0, picture(0)),
        1: pack_entry(-1, 1, picture(10)),
    }
    source = RecSource(write(tmp_path / "flat.rec", entries))
    assert [item.record.key for item in source] == ["2/3", "2/0", "1"]
    assert source.labels.tolist() == [0, 0, -1]
    assert [read_image(item.path)[0, 0, 0] for item in source] == [30, 0, 10]


def test_a_magic_word_in_the_picture_is_put_back(tmp_path):
    content = picture(1)
    content += bytes(-len(content) % 4) + MAGIC + b"tail"
    source = RecSource(write(tmp_path / "a.rec", {0: pack_entry(4, 0, content)}))
    assert next(iter(source)).path.read_bytes() == content
    assert source.labels.tolist() == [0]


def test_a_number_is_a_person_of_one_file(insightface, tmp_path):
    other = write(tmp_path / "other.rec", {0: pack_entry(7, 0, picture(0))})
    assert not set(RecSource(insightface).people) & set(RecSource(other).people)


def test_damage_costs_the_records_it_hits(insightface):
    content = bytearray(insightface.read_bytes())
    index = insightface.with_suffix(".idx").read_text()
    starts = [int(line.split()[1]) for line in index.splitlines()]
    content[starts[2]] ^= 255  # no magic word
    content[starts[3] + 7] |= 0x60  # flag: a last part
    struct.pack_into("<f", content, starts[4] + 12, float("nan"))  # nobody's label
    insightface.write_bytes(content[: starts[5] + 60])  # cut in the last picture
    source = RecSource(insightface)
    assert sorted(source.faults) == [1, 2, 4]
    assert source.usable().tolist() == [0, 3]
    items = list(source)
    assert [item.record.status for item in items] == ["ok", "skipped", "skipped", "ok", "skipped"]
    assert "none begins" in items[1].record.reason
    assert "cut short" in items[4].record.reason
    assert items[3].record.identity is None


def test_what_breaks_later_is_told_when_read(insightface):
    item = RecSource(insightface)[4]
    insightface.write_bytes(insightface.read_bytes()[:-200])
    with pytest.raises(ImageError, match="truncated"):
        read_image(item.path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "train.idx: not there"),
        ("", "record 0|no"),
        ("1\t0\n2\n", "not an index"),
        ("a\tb\n", "not an index"),
        ("1\t-8\n", "not an index"),
        ("1\t0\n1\t8\n", "key 1 appears twice"),
        ("0\t4\n", "record 0: .*is .*train.idx its index"),
        (f"0\t{2**62}\n", "record 0: .*cut short; is .*train.idx its index"),
    ],
)
def test_unusable_indices(insightface, index, message):
    path = insightface.with_suffix(".idx")
    if index is None:
        path.unlink()
    else:
        path.write_text(index)
    if index == "":
        assert list(RecSource(insightface)) == []
        return
    with pytest.raises(InputError, match=message):
        RecSource(insightface)


def test_a_first_record_with_several_labels_and_a_picture_is_a_picture(tmp_path):
    """As `im2rec` writes label vectors: record 0 tells no number of pictures."""
    entries = {n: pack_entry((2.0, 5.0, n), n, picture(n)) for n in range(6)}
    source = open_source(str(write(tmp_path / "vectors.rec", entries)))
    assert [item.record.key for item in source] == [f"2/{n}" for n in range(6)]


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


def test_a_record_of_parts_without_end_is_damaged(tmp_path):
    """An index of many lines that all lead to it would take for ever."""
    path = tmp_path / "a.rec"
    first, middle = (MAGIC + struct.pack("<I", flag << 29) for flag in (1, 2))
    path.write_bytes(first + middle * 100_000)
    path.with_suffix(".idx").write_text("".join(f"{n}\t0\n" for n in range(1, 2000)))
    source = RecSource(path)
    assert set(source.faults.values()) == {"damaged record: in more than 100 parts"}
    assert len(source.faults) == 1999
