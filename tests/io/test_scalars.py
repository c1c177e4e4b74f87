"""Histories as they are continued; event files, by a decoder of the format's description."""

import json
import struct

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.io.scalars import EventWriter, crc32c, read_history


def written(path, *lines, end=b""):
    path.write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode() + end)
    return path


def test_series_by_name(tmp_path):
    path = written(
        tmp_path / "history.jsonl",
        {"step": 2, "loss": 4.0, "lr": 0.5},
        {"step": 2, "check_error": 0.25},
        {"step": 4, "loss": None, "lr": 0.25},
        end=b'{"step": 6, "loss": 1',
    )
    found = read_history(path)
    assert list(found) == ["loss", "lr", "check_error"]
    assert found["loss"].steps.tolist() == [2, 4]
    np.testing.assert_array_equal(found["loss"].values, [4.0, np.nan])
    assert found["check_error"].steps.tolist() == [2]


def test_steps_done_again_count_once(tmp_path):
    """Killed at 8, continued from the checkpoint at 4, without anybody having cut the file."""
    lines = [{"step": step, "loss": float(step)} for step in (2, 4, 6, 8)]
    again = [{"step": step, "loss": -float(step)} for step in (6, 8, 10)]
    series = read_history(written(tmp_path / "history.jsonl", *lines, *again))["loss"]
    assert series.steps.tolist() == [2, 4, 6, 8, 10]
    assert series.values.tolist() == [2, 4, -6, -8, -10]


def test_rubbish_is_passed_over_and_nothing_is_no_run(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'\xff\xfe\n[1]\n{"step": "x"}\n\n{"step": 1, "note": "a"}\n')
    assert read_history(path) == {}
    with pytest.raises(InputError, match="unreadable"):
        read_history(tmp_path / "none.jsonl")


def test_numbers_of_hundreds_of_digits_end_nothing(tmp_path):
    path = written(
        tmp_path / "history.jsonl", {"step": 10**400, "loss": 1.0}, {"step": 2, "loss": 10**400}
    )
    series = read_history(path)["loss"]
    assert series.steps.tolist() == [2]
    assert series.values.tolist() == [np.inf]


def records(content):
    """Split framed records, checking both checksums."""
    while content:
        head, content = content[:12], content[12:]
        (length,) = struct.unpack("<Q", head[:8])
        for data, stored in ((head[:8], head[8:]), (content[:length], content[length:])):
            crc = crc32c(data)
            masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack("<I", stored[:4])[0] == masked
        yield content[:length]
        content = content[length + 4 :]


def fields(message):
    """Decode one level of a protocol buffer into (number, value) pairs."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, message[at : at + size]
            at += size


def test_crc32c_known_values():
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_scalars_come_back(tmp_path):
    with EventWriter(tmp_path / "run", "1.2.0") as writer:
        writer.add(300, {"loss": 0.25, "lr": 0.5})
        assert len(list(records(writer.path.read_bytes()))) == 2  # on disk before the end
    first, second = records(writer.path.read_bytes())
    assert (3, b"brain.Event:2") in list(fields(first))
    event = dict(fields(second))
    assert event[2] == 300
    values = [dict(fields(value)) for _, value in fields(event[5])]
    assert [(v[1], struct.unpack("<f", v[2])[0]) for v in values] == [(b"loss", 0.25), (b"lr", 0.5)]


def test_pictures_come_back(tmp_path):
    content = bytes(range(256))
    with EventWriter(tmp_path, "1") as writer:
        writer.add_png(7, "samples", content, (20, 300))
    event = dict(fields(list(records(writer.path.read_bytes()))[1]))
    value = dict(fields(dict(fields(event[5]))[1]))
    assert (event[2], value[1]) == (7, b"samples")
    assert dict(fields(value[4])) == {1: 20, 2: 300, 3: 3, 4: content}
